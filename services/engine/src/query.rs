//! Runs one request on a connection, on a thread of its own: reads the statement, decides how it is run,
//! feeds an insert, writes a result. It blocks all the way, and knows nothing of sockets.

use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::exception::{Exception, code};
use crate::ffi::{Class, Connection};
use crate::format::Joining;
use crate::http::request::Request;
use crate::http::response::Writer;
use crate::statement::{self, Reach, Statement};
use crate::users::User;
use bytes::Bytes;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is read of a body at once.
const READ_BYTES: usize = 256 << 10;

/// The temporary table that stands in for `input()`.
const INPUT_TABLE: &str = "_hoplog_input";

/// The setting that lets the data of an insert hold SQL expressions.
const EXPRESSIONS: &str = "input_format_values_interpret_expressions";

/// One request, as the thread that runs it sees it.
pub(crate) struct Query<'q> {
    pub(crate) engine: &'q Engine,
    pub(crate) config: &'q EngineConfig,
    pub(crate) request: &'q Request,
    pub(crate) user: &'q User,
    /// It reads only, so it may be stopped when its client leaves.
    pub(crate) stoppable: &'q AtomicBool,
}

/// The statement's text as far as it has been read, and what it is.
pub(crate) struct Text {
    bytes: Vec<u8>,
    statement: Statement,
    complete: bool,
}

impl Text {
    /// For metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.statement {
            Statement::Other { rows: true, .. } => "read",
            Statement::Other { .. } => "other",
            _ => "insert",
        }
    }

    /// The text without an insert's data.
    fn head(&self) -> &[u8] {
        match &self.statement {
            Statement::Insert { head, .. } | Statement::InsertSelectInput { head, .. } => head,
            Statement::Other { .. } => &self.bytes,
        }
    }
}

impl Query<'_> {
    /// Reads the body as far as it is statement.
    pub(crate) fn read(&self, body: &mut dyn Read) -> Result<Text, Exception> {
        let mut bytes = self.request.query.clone().into_bytes();
        if !bytes.is_empty() {
            bytes.push(b'\n');
        }
        let limit = self.config.query_text_bytes_max;
        let mut complete = false;
        let mut wanted = 0;
        loop {
            // Looked at again when it has doubled, so that a long text is not looked at too often.
            if bytes.len() >= wanted || complete {
                if let Some(statement) = statement::parse(&bytes, complete) {
                    let values = matches!(&statement, Statement::Insert { format, .. } if is_values(format));
                    if !values || complete || bytes.len() > limit {
                        return Ok(Text { bytes, statement, complete });
                    }
                }
                wanted = bytes.len() * 2;
            }
            if bytes.len() > limit {
                return Err(Exception::new(
                    code::QUERY_IS_TOO_LARGE,
                    format_args!("The query is larger than {limit} bytes"),
                ));
            }
            let before = bytes.len();
            bytes.resize(before + READ_BYTES, 0);
            let read = body.read(&mut bytes[before..]).map_err(|error| body_exception(&error))?;
            bytes.truncate(before + read);
            complete = read == 0;
        }
    }

    /// Refuses what nobody may do, and what this user or method may not.
    pub(crate) fn check(&self, text: &Text, connection: &mut Connection) -> Result<Class, Exception> {
        let scanned = if text.complete { &text.bytes } else { text.head() };
        // The data of formats other than Values is no SQL.
        let scanned = match &text.statement {
            Statement::Insert { format, .. } if is_values(format) => scanned,
            _ => text.head(),
        };
        let refused = match statement::reaches_files(scanned) {
            None => None,
            Some(Reach::Outfile) => Some("INTO OUTFILE is not allowed"),
            Some(Reach::Infile) => Some("FROM INFILE is not allowed"),
            Some(Reach::FileFunction) => {
                Some("file() is not allowed: the engine reads no files of the machine")
            }
        };
        if let Some(what) = refused {
            return Err(Exception::new(code::ACCESS_DENIED, format_args!("{}: {what}", self.user.name)));
        }
        let head = match &text.statement {
            Statement::Other { .. } => text.bytes.clone(),
            Statement::Insert { head, .. } => [head.as_slice(), b" FORMAT TSV"].concat(),
            Statement::InsertSelectInput { head, .. } => head.clone(),
        };
        let (statements, class) = connection.classify(&head);
        if statements == 0 && statement::is_empty(&head) {
            return Err(Exception::new(code::SYNTAX_ERROR, "Syntax error: Empty query"));
        }
        if statements > 1 {
            return Err(Exception::new(code::SYNTAX_ERROR, "Multi-statements are not allowed"));
        }
        let reads_only = self.user.readonly || self.request.readonly;
        // What does not parse goes on to the engine, for its syntax error.
        if reads_only && !matches!(class, Class::ReadOnly | Class::Unknown) {
            return Err(Exception::new(
                code::READONLY,
                format_args!("{}: Cannot execute query in readonly mode", self.user.name),
            ));
        }
        if self.user.readonly && (statement::sets(&head, "profile") || self.sets_profile()) {
            return Err(Exception::new(
                code::READONLY,
                format_args!("{}: Cannot modify 'profile' setting in readonly mode", self.user.name),
            ));
        }
        Ok(class)
    }

    fn sets_profile(&self) -> bool {
        self.request.settings.iter().any(|(name, _)| name.eq_ignore_ascii_case("profile"))
    }

    /// Puts the request's database and settings on the connection.
    pub(crate) fn prepare(&self, connection: &mut Connection) -> Result<(), Exception> {
        if let Some(database) = self.request.database.as_deref().filter(|name| !name.is_empty()) {
            run(connection, &format!("USE {}", quoted_name(database)))?;
        }
        if self.request.settings.is_empty() {
            return Ok(());
        }
        let mut set = String::from("SET ");
        for (at, (name, value)) in self.request.settings.iter().enumerate() {
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
                return Err(Exception::new(
                    code::UNKNOWN_SETTING,
                    format_args!(
                        "Setting {} is neither a builtin setting nor started with a prefix",
                        name.escape_debug()
                    ),
                ));
            }
            let comma = if at > 0 { ", " } else { "" };
            set.push_str(&format!("{comma}{name} = {}", quoted_text(value)));
        }
        run(connection, &set)
    }

    /// Everything, on a connection that nobody else will see.
    pub(crate) fn answer(
        &self,
        text: Text,
        connection: &mut Connection,
        body: &mut dyn Read,
        writer: &mut Writer,
    ) -> Result<(), Exception> {
        let class = self.check(&text, connection)?;
        if self.request.readonly && !self.user.readonly {
            // As ClickHouse: GET is at 2 before its settings are applied, so they cannot undo it.
            run(connection, "SET readonly = 2")?;
        }
        self.prepare(connection)?;
        self.run(text, class, connection, body, writer)
    }

    /// Everything, on a session's connection: what the URL sets holds for this request only.
    pub(crate) fn answer_in_session(
        &self,
        text: Text,
        connection: &mut Connection,
        mark: u64,
        body: &mut dyn Read,
        writer: &mut Writer,
    ) -> Result<(), Exception> {
        let class = self.check(&text, connection)?;
        self.engine.mark(connection, mark, self.user.readonly)?;
        let restore = self.restore(connection)?;
        let result = self.prepare(connection).and_then(|()| self.run(text, class, connection, body, writer));
        if let Some(restore) = restore {
            run(connection, &restore)?;
        }
        result
    }

    /// The statement that puts the settings of the URL back to what they are now.
    fn restore(&self, connection: &mut Connection) -> Result<Option<String>, Exception> {
        let names: Vec<String> = self.request.settings.iter().map(|(name, _)| quoted_text(name)).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let query = format!(
            "SELECT concat(name, ' = ', if(changed, concat('\\'', replaceAll(replaceAll(value, '\\\\', '\\\\\\\\'), '\\'', '\\\\\\''), '\\''), 'DEFAULT')) \
             FROM system.settings WHERE name IN ({})",
            names.join(", ")
        );
        let answer = connection
            .query(query.as_bytes(), "TSVRaw", &[])
            .map_err(|text| Exception::from_engine(&text))?;
        let assignments = String::from_utf8_lossy(answer.as_ref()).trim_end().replace('\n', ", ");
        Ok((!assignments.is_empty()).then(|| format!("SET {assignments}")))
    }

    /// Runs the statement and writes its result.
    pub(crate) fn run(
        &self,
        mut text: Text,
        class: Class,
        connection: &mut Connection,
        body: &mut dyn Read,
        writer: &mut Writer,
    ) -> Result<(), Exception> {
        self.stoppable.store(class == Class::ReadOnly, Ordering::SeqCst);
        let default_format = self.request.format.as_deref().unwrap_or("TabSeparated");
        match &text.statement {
            Statement::Insert { head, format, data } => {
                writer.describe(default_format, self.engine.content_type(default_format));
                if text.complete && is_values(format) {
                    return self.whole(&text.bytes, default_format, connection, writer);
                }
                if is_values(format) {
                    if statement::sets(head, EXPRESSIONS) {
                        return Err(Exception::new(
                            code::ACCESS_DENIED,
                            format_args!("{EXPRESSIONS} cannot be set for an insert of this size"),
                        ));
                    }
                    // The text is too long to be searched for what may not be called.
                    run(connection, &format!("SET {EXPRESSIONS} = 0"))?;
                }
                self.insert(head, format, &text.bytes[*data..], connection, body, writer)
            }
            Statement::InsertSelectInput { head, call, structure, format, data } => {
                writer.describe(default_format, self.engine.content_type(default_format));
                let table = format!("CREATE TEMPORARY TABLE {INPUT_TABLE} ({structure}) ENGINE = Memory");
                run(connection, &table)?;
                let filled = self.insert(
                    format!("INSERT INTO {INPUT_TABLE}").as_bytes(),
                    format,
                    &text.bytes[*data..],
                    connection,
                    body,
                    // What is written here is not written for good.
                    &mut Discard,
                );
                let select = [&head[..call.start], INPUT_TABLE.as_bytes(), &head[call.end..]].concat();
                let inserted = filled.and_then(|()| self.whole(&select, default_format, connection, writer));
                // A session would meet it again.
                let dropped = run(connection, &format!("DROP TEMPORARY TABLE IF EXISTS {INPUT_TABLE}"));
                inserted.and(dropped)
            }
            Statement::Other { format, rows } => {
                let format = format.as_deref().unwrap_or(default_format).to_owned();
                let rows = *rows;
                writer.describe(&format, self.engine.content_type(&format));
                if let Some((id, at)) = statement::killed_query(&text.bytes)
                    && let Some(engine_id) = self.engine.engine_query_id(&id)
                {
                    text.bytes.splice(at, quoted_text(&engine_id).into_bytes());
                }
                let joining = Joining::of(&format);
                if rows && class == Class::ReadOnly && joining != Joining::Whole {
                    return self.stream(&text.bytes, &format, joining, connection, writer);
                }
                self.whole(&text.bytes, &format, connection, writer)
            }
        }
    }

    /// A statement whose result the library renders whole.
    fn whole(
        &self,
        sql: &[u8],
        format: &str,
        connection: &mut Connection,
        writer: &mut Writer,
    ) -> Result<(), Exception> {
        let answer = connection
            .query(sql, format, &self.request.parameters)
            .map_err(|text| Exception::from_engine(&text))?;
        writer.count(answer.progress());
        // In pieces, so that a slow client is noticed and an encoder does not double a large result.
        let mut rest = Bytes::from_owner(answer);
        while !rest.is_empty() {
            writer.write(rest.split_to(rest.len().min(1 << 20)))?;
        }
        Ok(())
    }

    /// A query whose blocks are sent as they come.
    fn stream(
        &self,
        sql: &[u8],
        format: &str,
        joining: Joining,
        connection: &mut Connection,
        writer: &mut Writer,
    ) -> Result<(), Exception> {
        let failed = |text: String| Exception::from_engine(&text);
        let mut first = true;
        {
            let started = connection.stream(sql, format, &self.request.parameters);
            // It is read-only but not a plain query; running it whole is right for anything.
            if matches!(&started, Err(text) if text.contains("Streaming query is not supported")) {
                drop(started);
                return self.whole(sql, format, connection, writer);
            }
            let mut blocks = started.map_err(failed)?;
            while let Some(block) = blocks.next().map_err(failed)? {
                writer.count(block.progress());
                let header = if first { 0 } else { joining.header_bytes(block.as_ref()) };
                first = false;
                writer.write(Bytes::from_owner(block).slice(header..))?;
                if writer.client_is_gone() {
                    return Err(Exception::new(code::QUERY_WAS_CANCELLED, "The client is gone"));
                }
            }
        }
        // A result without rows has no block, but may have a header. Asked again it is as empty.
        if first && joining != Joining::Plain {
            return self.whole(sql, format, connection, writer);
        }
        Ok(())
    }

    fn insert(
        &self,
        head: &[u8],
        format: &str,
        start: &[u8],
        connection: &mut Connection,
        body: &mut dyn Read,
        counter: &mut dyn Counts,
    ) -> Result<(), Exception> {
        let failed = |text: String| Exception::from_engine(&text);
        // A comment at the end of the head would swallow the FORMAT that the library appends.
        let head = [head, b"\n"].concat();
        let mut insert = connection.insert(&head, format, &self.request.parameters).map_err(failed)?;
        let mut taken = start.is_empty() || insert.append(start);
        let mut buffer = vec![0; READ_BYTES];
        while taken {
            // Dropping the insert on a failed read aborts it.
            let read = match body.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(body_exception(&error)),
            };
            if read == 0 {
                break;
            }
            taken = insert.append(&buffer[..read]);
        }
        counter.add(insert.done().map_err(failed)?);
        Ok(())
    }
}

/// Who is told what an insert wrote.
trait Counts {
    fn add(&mut self, progress: crate::ffi::Progress);
}

impl Counts for Writer {
    fn add(&mut self, progress: crate::ffi::Progress) {
        self.count(progress);
    }
}

struct Discard;

impl Counts for Discard {
    fn add(&mut self, _: crate::ffi::Progress) {}
}

/// Runs a statement of our own, without a result.
pub(crate) fn run(connection: &mut Connection, sql: &str) -> Result<(), Exception> {
    connection.query(sql.as_bytes(), "TSV", &[]).map(drop).map_err(|text| Exception::from_engine(&text))
}

fn is_values(format: &str) -> bool {
    format.eq_ignore_ascii_case("Values")
}

/// What a failed read of the body means to the client.
fn body_exception(error: &std::io::Error) -> Exception {
    use crate::compress::FrameError;
    use crate::http::body::BodyError;
    let inner = error.get_ref();
    let kind = match (inner.and_then(|e| e.downcast_ref()), inner.and_then(|e| e.downcast_ref())) {
        (Some(BodyError::Stalled(_)), _) => code::SOCKET_TIMEOUT,
        (Some(BodyError::TooLarge(_)), _) => code::QUERY_IS_TOO_LARGE,
        (_, Some(FrameError::Checksum)) => (40, "CHECKSUM_DOESNT_MATCH"),
        (_, Some(FrameError::Method(_))) => code::UNKNOWN_COMPRESSION_METHOD,
        (_, Some(FrameError::TooLarge(_))) => (39, "TOO_LARGE_SIZE_COMPRESSED"),
        (_, Some(FrameError::Data)) => (271, "CANNOT_DECOMPRESS"),
        _ => code::CANNOT_READ_ALL_DATA,
    };
    Exception::new(kind, format_args!("Cannot read the request body: {error}"))
}

/// A string literal.
pub(crate) fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A name in backticks.
fn quoted_name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_leaves_no_way_out() {
        assert_eq!(quoted_text(r"a'b\'c"), r"'a\'b\\\'c'");
        assert_eq!(quoted_name(r"a`b\`c"), r"`a\`b\\\`c`");
    }
}
