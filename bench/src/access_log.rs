//! Reads access logs in combined format, as Apache and nginx write it, plain or gzipped. A line that is not in the
//! format is counted and left out: logs are cut, edited and concatenated in real life.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::error::LoadError;

const TIME: &[BorrowedFormatItem<'_>] = format_description!(
    "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
);
/// Servers refuse longer requests; the rest of such a line is skipped unread.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// One request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The client as the log has it: an address, or a name.
    pub client: String,
    /// When, in seconds since 1970.
    pub at_unix_s: i64,
    /// The method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// `Referer`, where there was one.
    pub referrer: Option<String>,
    /// `User-Agent`, where there was one.
    pub user_agent: Option<String>,
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// Requests in the order of the log.
    pub entries: Vec<Entry>,
    /// Lines that are not in the format.
    pub malformed: u64,
}

impl AccessLog {
    /// Reads a file; gzip is recognised by its first bytes.
    ///
    /// # Errors
    /// When it cannot be read or is damaged gzip.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let read = || -> io::Result<Self> {
            let mut reader = BufReader::new(File::open(path)?);
            if reader.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
                Self::read(BufReader::new(MultiGzDecoder::new(reader)))
            } else {
                Self::read(reader)
            }
        };
        read().map_err(|source| LoadError::File { path: path.to_owned(), source })
    }

    /// Reads lines.
    ///
    /// # Errors
    /// What the reader says.
    pub fn read(mut reader: impl BufRead) -> io::Result<Self> {
        let mut log = Self::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(log);
            }
            let whole = line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n");
            if whole {
                reader.skip_until(b'\n')?;
            }
            let text = std::str::from_utf8(&line).ok().filter(|_| !whole);
            match text.map(|text| text.trim_end_matches(['\r', '\n'])) {
                Some("") => {}
                Some(text) => match parse_line(text) {
                    Some(entry) => log.entries.push(entry),
                    None => log.malformed += 1,
                },
                None => log.malformed += 1,
            }
        }
    }
}

/// `client ident user [time] "method path protocol" status bytes "referrer" "user agent"`.
#[must_use]
pub fn parse_line(line: &str) -> Option<Entry> {
    let (client, rest) = line.split_once(' ')?;
    let (_ident_and_user, rest) = rest.split_once(" [")?;
    let (at, rest) = rest.split_once("] \"")?;
    let (request, rest) = quoted(rest)?;
    let mut numbers = rest.strip_prefix(' ')?.splitn(3, ' ');
    let status: u16 = numbers.next()?.parse().ok().filter(|status| (100..1000).contains(status))?;
    let bytes = numbers.next()?;
    if bytes != "-" && bytes.parse::<u64>().is_err() {
        return None;
    }
    let (referrer, rest) = quoted(numbers.next()?.strip_prefix('"')?)?;
    let (user_agent, rest) = quoted(rest.strip_prefix(" \"")?)?;
    let mut words = request.split(' ');
    let (method, path, protocol) = (words.next()?, words.next()?, words.next()?);
    let sound = rest.is_empty() && words.next().is_none() && protocol.starts_with("HTTP/");
    let token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if client.is_empty() || !sound || !token || !path.starts_with('/') {
        return None;
    }
    let present = |value: String| (value != "-" && !value.is_empty()).then_some(value);
    Some(Entry {
        client: client.to_owned(),
        at_unix_s: OffsetDateTime::parse(at, TIME).ok()?.unix_timestamp(),
        method: method.to_owned(),
        path: path.to_owned(),
        status,
        referrer: present(referrer),
        user_agent: present(user_agent),
    })
}

/// The text up to the closing quote, with `\"` and `\\` resolved, and what follows. Other escapes stand for bytes
/// that no header takes, and are kept as they are written.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"192.0.2.7 - - [17/May/2015:10:05:03 +0200] "GET /a?b=c HTTP/1.1" 200 12 "http://r.example/" "Agent \"x\"""#;

    #[test]
    fn a_line_is_read() {
        let entry = parse_line(LINE).unwrap();
        let wanted = Entry {
            client: "192.0.2.7".to_owned(),
            at_unix_s: 1_431_849_903,
            method: "GET".to_owned(),
            path: "/a?b=c".to_owned(),
            status: 200,
            referrer: Some("http://r.example/".to_owned()),
            user_agent: Some("Agent \"x\"".to_owned()),
        };
        assert_eq!(entry, wanted);
        let bare = LINE.replace("http://r.example/", "-").replace(" 200 12 ", " 304 - ");
        assert_eq!(parse_line(&bare).unwrap().referrer, None);
    }

    #[test]
    fn what_is_not_in_the_format_is_refused() {
        let cases = [
            String::new(),
            "x".to_owned(),
            LINE.trim_end_matches('"').to_owned(),
            LINE.replace("200", "20"),
            LINE.replace("17/May", "42/May"),
            LINE.replace("GET /a?b=c HTTP/1.1", "GET /a"),
            LINE.replace("GET /a?b=c HTTP/1.1", "GET /a b HTTP/1.1"),
            LINE.replace("GET /a?b=c HTTP/1.1", "-"),
            LINE.replace("GET", "G\u{e9}T"),
            LINE.replace("/a?b", "http://a"),
            format!("{LINE} extra"),
        ];
        for case in cases {
            assert_eq!(parse_line(&case), None, "{case}");
        }
    }

    #[test]
    fn malformed_lines_are_counted_and_the_rest_is_read() {
        let long = "x".repeat(200_000);
        let mut text = format!("{LINE}\n\nnonsense\n{long}\n{LINE}\r\n").into_bytes();
        text.extend_from_slice(b"\xff\xfe\n");
        let log = AccessLog::read(text.as_slice()).unwrap();
        assert_eq!((log.entries.len(), log.malformed), (2, 3));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(start in 0..LINE.len(), noise in "\\PC{0,20}") {
            let _ = parse_line(&noise);
            let _ = parse_line(&format!("{}{noise}", &LINE[..start]));
            let _ = parse_line(&format!("{}{noise}{}", &LINE[..start], &LINE[start..]));
        }

        #[test]
        fn quoting_is_undone(value in "\\PC{0,40}", rest in "[a-z]{0,5}") {
            let text = format!("{}\"{rest}", value.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(quoted(&text), Some((value, rest.as_str())));
        }
    }
}
