//! A request's URL and headers, read into one value. It reads no body and checks no password.

use super::encoding::Encoding;
use crate::exception::{Exception, code};
use base64::Engine as _;
use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use std::time::Duration;

/// How long a session outlives its last request, unless it says so itself. ClickHouse's default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest a session may ask for. ClickHouse's default.
const SESSION_TIMEOUT_MAX: u64 = 3600;

/// The most that `buffer_size` may hold back.
const BUFFER_BYTES_MAX: usize = 64 << 20;

/// Everything a request says outside its body.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// `query` of the URL; the body is appended to it.
    pub(crate) query: String,
    pub(crate) database: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) query_id: Option<String>,
    pub(crate) session: Option<SessionRequest>,
    /// What becomes `SET name = 'value'`, in order.
    pub(crate) settings: Vec<(String, String)>,
    /// Values of `{name:Type}`.
    pub(crate) parameters: Vec<(String, String)>,
    /// GET and HEAD only read.
    pub(crate) readonly: bool,
    pub(crate) user: String,
    pub(crate) password: String,
    /// Whether any credential was given.
    pub(crate) credentials: bool,
    /// The answer is in ClickHouse's own framing.
    pub(crate) compress: bool,
    /// The body is in ClickHouse's own framing.
    pub(crate) decompress: bool,
    pub(crate) accepted: Option<Encoding>,
    pub(crate) body_encoding: Option<Encoding>,
    pub(crate) boundary: Option<String>,
    pub(crate) wait_end: bool,
    /// `buffer_size`, if it is asked for.
    pub(crate) buffer_bytes: Option<usize>,
    pub(crate) progress_headers: bool,
}

/// `session_id` and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRequest {
    pub(crate) id: String,
    pub(crate) timeout: Duration,
    /// It must exist already.
    pub(crate) check: bool,
}

impl Request {
    /// Reads URL and headers.
    pub(crate) fn read(parts: &Parts) -> Result<Self, Exception> {
        let readonly = matches!(parts.method, Method::GET | Method::HEAD);
        let mut request = Self { readonly, ..Self::default() };
        let mut url = Url { http_compression: true, ..Url::default() };
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            request.take(&mut url, &name, value.into_owned())?;
        }
        request.read_headers(&url, &parts.headers)?;
        request.session = url.session()?;
        Ok(request)
    }

    /// One field of a multipart body: as if it had stood in the URL.
    pub(crate) fn take_field(&mut self, name: &str, value: String) -> Result<(), Exception> {
        let mut url = Url::default();
        self.take(&mut url, name, value)?;
        if url.user.is_some() || url.password.is_some() || url.session_id.is_some() {
            return Err(Exception::new(
                code::BAD_ARGUMENTS,
                format_args!("{name} belongs into the URL or a header and not into the body"),
            ));
        }
        Ok(())
    }

    fn take(&mut self, url: &mut Url, name: &str, value: String) -> Result<(), Exception> {
        match name {
            "query" => self.query.push_str(&value),
            "database" => self.database = Some(value),
            "default_format" => self.format = Some(value),
            "query_id" => self.query_id = Some(value),
            "session_id" => url.session_id = Some(value),
            "session_timeout" => url.session_timeout = Some(value),
            "session_check" => url.session_check = value == "1",
            "user" => url.user = Some(value),
            "password" => url.password = Some(value),
            "compress" => self.compress = flag(&value),
            "decompress" => self.decompress = flag(&value),
            "enable_http_compression" => url.http_compression = flag(&value),
            "wait_end_of_query" => self.wait_end = flag(&value),
            "send_progress_in_http_headers" => self.progress_headers = flag(&value),
            "buffer_size" => {
                let wrong = |_| Exception::new(code::BAD_ARGUMENTS, "buffer_size is not a number");
                self.buffer_bytes = Some(value.parse::<usize>().map_err(wrong)?.min(BUFFER_BYTES_MAX));
            }
            // A newer `Native` that the library does not write: clients ask, look at the answer and adapt.
            "client_protocol_version"
            | "http_zlib_compression_level"
            | "quota_key"
            | "stacktrace"
            | "close_session"
            | "" => {}
            "role" => {
                return Err(Exception::new(
                    (511, "UNKNOWN_ROLE"),
                    "There are no roles in the embedded engine",
                ));
            }
            _ => match name.strip_prefix("param_") {
                Some(name) => self.parameters.push((name.to_owned(), value)),
                None => self.settings.push((name.to_owned(), value)),
            },
        }
        Ok(())
    }

    fn read_headers(&mut self, url: &Url, headers: &HeaderMap) -> Result<(), Exception> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(format) = text("x-clickhouse-format") {
            self.format = Some(format.to_owned());
        }
        if let Some(database) = text("x-clickhouse-database") {
            self.database = Some(database.to_owned());
        }
        self.read_credentials(url, headers)?;
        if url.http_compression {
            self.accepted =
                headers.get(header::ACCEPT_ENCODING).and_then(|v| Encoding::accepted(v.to_str().ok()?));
        }
        if let Some(name) = headers.get(header::CONTENT_ENCODING) {
            let name = String::from_utf8_lossy(name.as_bytes()).trim().to_ascii_lowercase();
            self.body_encoding = Encoding::of_body(&name)?;
        }
        if let Some(content_type) = text("content-type").filter(|t| t.starts_with("multipart/form-data")) {
            let boundary = content_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
            self.boundary = boundary.map(|b| b.trim_matches('"').to_owned());
        }
        if text("x-clickhouse-progress").is_some() {
            self.progress_headers = true;
        }
        Ok(())
    }

    fn read_credentials(&mut self, url: &Url, headers: &HeaderMap) -> Result<(), Exception> {
        let own =
            |name: &'static str| headers.get(HeaderName::from_static(name)).map(|v| lossy(v.as_bytes()));
        let (user, key) = (own("x-clickhouse-user"), own("x-clickhouse-key"));
        let basic = headers.get(header::AUTHORIZATION).map(|v| lossy(v.as_bytes()));
        let ways =
            [user.is_some() || key.is_some(), basic.is_some(), url.user.is_some() || url.password.is_some()];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(Exception::new(
                code::AUTHENTICATION_FAILED,
                "Invalid authentication: it is not allowed to use several authentication methods simultaneously",
            ));
        }
        self.credentials = ways.contains(&true);
        let (user, password) = match basic {
            Some(basic) => decode_basic(&basic)?,
            None => (
                user.or_else(|| url.user.clone()).unwrap_or_else(|| "default".to_owned()),
                key.or_else(|| url.password.clone()).unwrap_or_default(),
            ),
        };
        (self.user, self.password) = (user, password);
        Ok(())
    }
}

/// What of the URL is only known to mean something once headers are read.
#[derive(Default)]
struct Url {
    user: Option<String>,
    password: Option<String>,
    session_id: Option<String>,
    session_timeout: Option<String>,
    session_check: bool,
    http_compression: bool,
}

impl Url {
    fn session(&self) -> Result<Option<SessionRequest>, Exception> {
        let Some(id) = self.session_id.clone().filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        let timeout = match &self.session_timeout {
            None => SESSION_TIMEOUT,
            Some(text) => match text.parse::<u64>() {
                Ok(seconds) if seconds <= SESSION_TIMEOUT_MAX => Duration::from_secs(seconds),
                _ => {
                    return Err(Exception::new(
                        code::INVALID_SESSION_TIMEOUT,
                        format_args!(
                            "Session timeout '{text}' is not within 0 to {SESSION_TIMEOUT_MAX} seconds"
                        ),
                    ));
                }
            },
        };
        Ok(Some(SessionRequest { id, timeout, check: self.session_check }))
    }
}

fn flag(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn decode_basic(value: &str) -> Result<(String, String), Exception> {
    let invalid =
        || Exception::new(code::AUTHENTICATION_FAILED, "Invalid authentication: Basic credentials expected");
    let (scheme, encoded) = value.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(invalid());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).map_err(|_| invalid())?;
    let decoded = lossy(&decoded);
    let (user, password) = decoded.split_once(':').ok_or_else(invalid)?;
    let user = if user.is_empty() { "default" } else { user };
    Ok((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str, headers: &[(&str, &str)]) -> Result<Request, Exception> {
        let mut builder = http::Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        Request::read(&builder.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_url_is_taken_apart() {
        let request = read(
            "/?query=SELECT+{x:UInt8}&param_x=1&max_threads=3&database=d&default_format=JSON&session_id=s&session_timeout=5",
            &[("accept-encoding", "gzip")],
        )
        .unwrap();
        assert_eq!(request.query, "SELECT {x:UInt8}");
        assert_eq!(request.parameters, [("x".to_owned(), "1".to_owned())]);
        assert_eq!(request.settings, [("max_threads".to_owned(), "3".to_owned())]);
        assert_eq!((request.database.as_deref(), request.format.as_deref()), (Some("d"), Some("JSON")));
        let session = SessionRequest { id: "s".into(), timeout: Duration::from_secs(5), check: false };
        assert_eq!(request.session, Some(session));
        assert_eq!((request.user.as_str(), request.readonly), ("default", true));
        assert_eq!(request.accepted, Some(Encoding::Gzip));
    }

    #[test]
    fn credentials_come_in_one_way_only() {
        for (uri, headers, want) in [
            ("/", vec![("x-clickhouse-user", "a"), ("x-clickhouse-key", "b")], Some(("a", "b"))),
            ("/?user=a&password=b", vec![], Some(("a", "b"))),
            ("/", vec![("authorization", "Basic YTpi")], Some(("a", "b"))),
            ("/", vec![("authorization", "Basic ???")], None),
            ("/", vec![("authorization", "Bearer x")], None),
            ("/?user=a", vec![("authorization", "Basic YTpi")], None),
            ("/", vec![("authorization", "Basic YTpi"), ("x-clickhouse-user", "a")], None),
        ] {
            let got = read(uri, &headers).ok().map(|r| (r.user, r.password));
            assert_eq!(got, want.map(|(a, b)| (a.to_owned(), b.to_owned())), "{uri} {headers:?}");
        }
        assert!(read("/?session_id=a&session_timeout=99999", &[]).is_err());
        assert!(read("/?role=x", &[]).is_err());
    }
}
