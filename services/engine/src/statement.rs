//! Just enough of SQL's lexical structure to route a request: where the data of an `INSERT` begins, which
//! format a result is in, and whether the text reaches for files of the machine.
//!
//! It does not parse: whether a statement is valid, and what it does, the engine's own parser says.

/// A lexical token, with where it ends and how deep in parentheses it stands.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    kind: Kind,
    text: &'a [u8],
    end: usize,
    depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A bare identifier, keyword or number.
    Word,
    /// `"x"` or `` `x` ``; `text` is without the quotes.
    Quoted,
    /// `'x'` or a heredoc.
    String,
    /// One byte of anything else.
    Punctuation,
}

/// What the text of a request is, as far as routing needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// `INSERT … FORMAT f data` or `INSERT … VALUES data`, without a `SELECT`.
    Insert {
        /// The statement up to, but without, `FORMAT` or `VALUES`.
        head: Vec<u8>,
        /// The data's format.
        format: String,
        /// Where the data begins in the text.
        data: usize,
    },
    /// `INSERT … SELECT … FROM input('structure') … FORMAT f data`.
    InsertSelectInput {
        /// The statement up to, but without, `FORMAT`.
        head: Vec<u8>,
        /// Where `input('structure')` stands in it.
        call: std::ops::Range<usize>,
        /// The structure, unescaped.
        structure: String,
        /// The data's format.
        format: String,
        /// Where the data begins in the text.
        data: usize,
    },
    /// Anything else, with the format its text asks for.
    Other {
        /// The name after the last `FORMAT`.
        format: Option<String>,
        /// Begins like a query with rows (`SELECT`, `WITH`, `FROM`, a parenthesis), so it may be streamed.
        rows: bool,
    },
}

/// Something in the text that no user of the engine may do, because it acts on files of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// `INTO OUTFILE`: writes a file of the server's machine.
    Outfile,
    /// `FROM INFILE`: reads one.
    Infile,
    /// `file(…)`: reads one, also as a plain function, which the engine's grants do not cover.
    FileFunction,
}

/// Reads the text. `None` when it may go on (`complete` is false) and more of it is needed to tell.
pub(crate) fn parse(text: &[u8], complete: bool) -> Option<Statement> {
    let mut tokens = Tokens::new(text);
    let Some(first) = tokens.next() else {
        return complete.then_some(Statement::Other { format: None, rows: false });
    };
    if !complete && first.end == text.len() {
        return None;
    }
    if first.is("INSERT") {
        return insert(text, tokens, complete);
    }
    if !complete {
        return None;
    }
    let mut format = None;
    let mut previous: Option<Token<'_>> = None;
    for token in tokens {
        if token.kind == Kind::Word && token.depth == 0 && previous.is_some_and(|p| p.is("FORMAT")) {
            format = Some(token.string());
        }
        previous = Some(token);
    }
    let rows = ["SELECT", "WITH", "FROM"].iter().any(|k| first.is(k)) || first.text == b"(";
    Some(Statement::Other { format, rows })
}

fn insert(text: &[u8], mut tokens: Tokens<'_>, complete: bool) -> Option<Statement> {
    let mut selects = false;
    let mut input = None;
    let mut previous: Option<Token<'_>> = None;
    while let Some(token) = tokens.next() {
        let after_name = !previous.is_some_and(|p| p.text == b"." || p.is("INTO") || p.is("TABLE"));
        if token.kind == Kind::Word && after_name {
            selects |= token.is("SELECT");
            if token.depth == 0 && !selects && token.is("VALUES") {
                let head = text[..token.end - token.text.len()].to_vec();
                return Some(Statement::Insert { head, format: "Values".into(), data: token.end });
            }
            if token.depth == 0 && token.is("FORMAT") {
                let head = text[..token.end - token.text.len()].to_vec();
                return format_clause(text, tokens, head, selects.then_some(input), complete);
            }
        }
        if let Some(p) = previous.filter(|p| p.is("INPUT") && token.text == b"(") {
            let mut look = tokens.clone();
            if let (Some(structure), Some(close)) = (look.next(), look.next())
                && structure.kind == Kind::String
                && close.text == b")"
            {
                input = Some((p.end - p.text.len()..close.end, unescape(structure.text)));
            }
        }
        previous = Some(token);
    }
    if !complete {
        return None;
    }
    if selects {
        return Some(Statement::Other { format: None, rows: false });
    }
    Some(Statement::Insert { head: text.to_vec(), format: "Values".into(), data: text.len() })
}

/// After `FORMAT`: the name, settings that may follow it, then the data. `select` is given when the insert
/// has one, with its `input(…)` if it has that.
fn format_clause(
    text: &[u8],
    mut tokens: Tokens<'_>,
    mut head: Vec<u8>,
    select: Option<Option<(std::ops::Range<usize>, String)>>,
    complete: bool,
) -> Option<Statement> {
    let unfinished = complete.then_some(Statement::Other { format: None, rows: false });
    let Some(name) = tokens.next() else { return unfinished };
    // The bytes after the name decide whether it has ended, and where its line does.
    if !complete && text.len() < name.end + 3 {
        return None;
    }
    let mut end = name.end;
    let mut look = tokens;
    let mut ahead = look.clone();
    if ahead.next().is_some_and(|t| t.is("SETTINGS")) {
        look = ahead;
        // name = value [, name = value]
        loop {
            let (Some(_), Some(_), Some(value)) = (look.next(), look.next(), look.next()) else {
                return unfinished;
            };
            end = value.end;
            let mut ahead = look.clone();
            if ahead.next().is_none_or(|t| t.text != b",") {
                break;
            }
            look = ahead;
        }
        head.extend_from_slice(b" ");
        head.extend_from_slice(&text[name.end..end]);
    }
    let (format, data) = (name.string(), data_start(text, end));
    Some(match select {
        None => Statement::Insert { head, format, data },
        Some(None) => Statement::Other { format: Some(format), rows: false },
        Some(Some((call, structure))) => Statement::InsertSelectInput { head, call, structure, format, data },
    })
}

/// A string literal's content without its escapes; only quotes and backslashes occur in a structure.
fn unescape(literal: &[u8]) -> String {
    let text = String::from_utf8_lossy(literal);
    text.replace("\\'", "'").replace("''", "'").replace("\\\\", "\\")
}

/// ClickHouse's rule: blanks after the format's name belong to it, and one line end if there is one.
fn data_start(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\x0c')) {
        at += 1;
    }
    if text.get(at) == Some(&b'\r') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    at
}

/// Whether there is nothing but comments.
pub(crate) fn is_empty(text: &[u8]) -> bool {
    Tokens::new(text).next().is_none()
}

/// The first thing in the text that reaches for files of the machine.
pub(crate) fn reaches_files(text: &[u8]) -> Option<Reach> {
    let mut before: Option<Token<'_>> = None;
    let mut previous: Option<Token<'_>> = None;
    for token in Tokens::new(text) {
        if let Some(p) = previous {
            if p.is("INTO") && token.is("OUTFILE") {
                return Some(Reach::Outfile);
            }
            if p.is("FROM") && token.is("INFILE") {
                return Some(Reach::Infile);
            }
            let named = matches!(p.kind, Kind::Word | Kind::Quoted) && p.text.eq_ignore_ascii_case(b"file");
            let a_table =
                before.is_some_and(|b| b.text == b"." || b.is("INTO") || b.is("TABLE") || b.is("EXISTS"));
            if named && token.text == b"(" && token.kind == Kind::Punctuation && !a_table {
                return Some(Reach::FileFunction);
            }
        }
        before = previous;
        previous = Some(token);
    }
    None
}

/// Whether a setting of this name is given a value in the text (`name = …`).
pub(crate) fn sets(text: &[u8], name: &str) -> bool {
    let mut previous: Option<Token<'_>> = None;
    for token in Tokens::new(text) {
        let named = previous.is_some_and(|p| p.text.eq_ignore_ascii_case(name.as_bytes()));
        if token.text == b"=" && token.kind == Kind::Punctuation && named {
            return true;
        }
        previous = Some(token);
    }
    false
}

/// For `KILL QUERY … WHERE query_id = 'x' …` and nothing else: `x`, and where its literal stands.
pub(crate) fn killed_query(text: &[u8]) -> Option<(String, std::ops::Range<usize>)> {
    let tokens: Vec<Token<'_>> = Tokens::new(text).take(8).collect();
    let [kill, query, wher, column, equals, literal, ..] = tokens.as_slice() else {
        return None;
    };
    let shape = kill.is("KILL") && query.is("QUERY") && wher.is("WHERE") && column.is("query_id");
    (shape && equals.text == b"=" && literal.kind == Kind::String)
        .then(|| (literal.string(), literal.end - literal.text.len() - 2..literal.end))
}

impl Token<'_> {
    fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    fn string(&self) -> String {
        String::from_utf8_lossy(self.text).into_owned()
    }
}

/// Splits SQL into tokens, without comments and white space.
#[derive(Clone)]
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let line_comment = rest.starts_with(b"--") || rest.starts_with(b"# ") || rest.starts_with(b"#!");
            if rest.first().is_some_and(|b| b.is_ascii_whitespace() || *b == 0x0b || *b == 0) {
                self.at += 1;
            } else if line_comment {
                self.at += rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |n| n + 1);
            } else if rest.starts_with(b"/*") {
                self.at += rest[2..].windows(2).position(|w| w == b"*/").map_or(rest.len(), |n| n + 4);
            } else {
                return;
            }
        }
    }

    /// The end of a quoted thing that begins at `at`, after its closing quote, or the end of the text.
    fn quoted_end(&self, quote: u8) -> usize {
        let mut at = self.at + 1;
        while at < self.text.len() {
            match self.text[at] {
                b'\\' => at += 2,
                b if b == quote && self.text.get(at + 1) == Some(&quote) => at += 2,
                b if b == quote => return at + 1,
                _ => at += 1,
            }
        }
        self.text.len()
    }

    /// The end of `$tag$ … $tag$`, if a heredoc begins here.
    fn heredoc_end(&self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let tag = rest[1..].iter().position(|b| *b == b'$')? + 2;
        if !rest[1..tag - 1].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
            return None;
        }
        let close = rest[tag..].windows(tag).position(|w| w == &rest[..tag])?;
        Some(self.at + tag + close + tag)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks_and_comments();
        let start = self.at;
        let first = *self.text.get(start)?;
        let heredoc = if first == b'$' { self.heredoc_end() } else { None };
        let (kind, end, trim) = match first {
            b'\'' => (Kind::String, self.quoted_end(first), 1),
            b'"' | b'`' => (Kind::Quoted, self.quoted_end(first), 1),
            _ if heredoc.is_some() => (Kind::String, heredoc.unwrap_or(start + 1), 0),
            b if is_word(b) => {
                let length = self.text[start..].iter().position(|b| !is_word(*b));
                (Kind::Word, length.map_or(self.text.len(), |n| start + n), 0)
            }
            _ => (Kind::Punctuation, start + 1, 0),
        };
        let end = end.min(self.text.len());
        self.at = end;
        if first == b')' {
            self.depth = self.depth.saturating_sub(1);
        }
        let inner = start + trim..end.saturating_sub(trim).max(start + trim);
        let token = Token { kind, text: self.text.get(inner).unwrap_or(&[]), end, depth: self.depth };
        if first == b'(' {
            self.depth += 1;
        }
        Some(token)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn insert(head: &str, format: &str, data: usize) -> Option<Statement> {
        Some(Statement::Insert { head: head.into(), format: format.into(), data })
    }

    fn other(format: Option<&str>, rows: bool) -> Option<Statement> {
        Some(Statement::Other { format: format.map(str::to_owned), rows })
    }

    #[test]
    fn statements_are_told_apart() {
        for (text, want) in [
            ("SELECT 1", other(None, true)),
            ("select 1 format JSON", other(Some("JSON"), true)),
            ("select 'x format TSV' format CSV settings a=1;", other(Some("CSV"), true)),
            ("-- insert\n/* format A */ (SELECT 1) -- format B", other(None, true)),
            ("SHOW TABLES FORMAT TSV", other(Some("TSV"), false)),
            ("CREATE TABLE t (format String) ENGINE=Memory", other(None, false)),
            ("INSERT INTO t FORMAT TSV\n1\n", insert("INSERT INTO t ", "TSV", 25)),
            ("insert into t(a, b) format TSV 1\t2", insert("insert into t(a, b) ", "TSV", 31)),
            ("INSERT INTO t FORMAT TSV\r\nx", insert("INSERT INTO t ", "TSV", 26)),
            ("INSERT INTO t FORMAT TSV\n\n", insert("INSERT INTO t ", "TSV", 25)),
            ("INSERT INTO t VALUES (1)", insert("INSERT INTO t ", "Values", 20)),
            ("INSERT INTO db.values FORMAT TSV\n", insert("INSERT INTO db.values ", "TSV", 33)),
            ("INSERT INTO `format` VALUES (1)", insert("INSERT INTO `format` ", "Values", 27)),
            ("INSERT INTO t", insert("INSERT INTO t", "Values", 13)),
            ("INSERT INTO t SETTINGS a=1 FORMAT TSV\nx", insert("INSERT INTO t SETTINGS a=1 ", "TSV", 38)),
            (
                "INSERT INTO t FORMAT TSV SETTINGS a='b', c=2\nx",
                insert("INSERT INTO t   SETTINGS a='b', c=2", "TSV", 45),
            ),
            ("INSERT INTO t SELECT 1", other(None, false)),
            ("INSERT INTO t SELECT * FROM u FORMAT TSV", other(Some("TSV"), false)),
        ] {
            assert_eq!(parse(text.as_bytes(), true), want, "{text}");
        }
        let text = "INSERT INTO t SELECT a FROM input('a String') WHERE a != '' FORMAT TSV\nx";
        let Some(Statement::InsertSelectInput { head, call, structure, format, data }) =
            parse(text.as_bytes(), true)
        else {
            panic!("input() was not seen");
        };
        assert_eq!(
            (&text[call], structure.as_str(), format.as_str()),
            ("input('a String')", "a String", "TSV")
        );
        assert_eq!((head.len(), &text[data..]), (60, "x"));
    }

    #[test]
    fn files_are_reached_for_by_these_only() {
        for (text, want) in [
            ("SELECT * FROM file('/etc/passwd')", Some(Reach::FileFunction)),
            ("SELECT FiLe /* x */ ('/etc/passwd')", Some(Reach::FileFunction)),
            ("SELECT `file`('/etc/passwd')", Some(Reach::FileFunction)),
            ("INSERT INTO FUNCTION file('x') SELECT 1", Some(Reach::FileFunction)),
            ("SELECT 1 INTO -- x\n OUTFILE 'x'", Some(Reach::Outfile)),
            ("INSERT INTO t FROM INFILE 'x' FORMAT TSV", Some(Reach::Infile)),
            ("INSERT INTO file (a) VALUES (1)", None),
            ("SELECT 'file(' AS file, profile(1), $$file($$", None),
        ] {
            assert_eq!(reaches_files(text.as_bytes()), want, "{text}");
        }
        assert!(sets(b"SELECT 1 SETTINGS a = 1, profile = 'x'", "profile"));
        assert!(!sets(b"SELECT 'profile=1'", "profile"));
    }

    #[test]
    fn a_killed_query_is_found_by_its_literal() {
        let text = "KILL QUERY WHERE query_id = 'a-b' SYNC";
        let (id, range) = killed_query(text.as_bytes()).unwrap();
        assert_eq!((id.as_str(), &text[range]), ("a-b", "'a-b'"));
        assert_eq!(killed_query(b"KILL QUERY WHERE user = 'x'"), None);
    }

    proptest! {
        /// What has been told of a part of the text stays true when more of it comes.
        #[test]
        fn a_prefix_never_misleads(blanks in "[ \n]{0,3}", data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut text = format!("INSERT INTO t (a){blanks} FORMAT TSV\n").into_bytes();
            text.extend_from_slice(&data);
            let whole = parse(&text, true);
            for cut in 0..=text.len() {
                let part = parse(&text[..cut], false);
                prop_assert!(part.is_none() || part == whole, "cut at {}", cut);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse(&text, true), parse(&text, false), reaches_files(&text), killed_query(&text));
        }
    }
}
