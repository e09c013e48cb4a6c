//! The management API: who may call it from a browser, and how much at once.

use serde::Deserialize;
use url::Url;

use super::{Wrong, positive};

/// The management API.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Origins of web pages that may call the API, such as `https://app.example`; `*` is any. Default `*`, as in
    /// Shlink: who has no key gets nothing, and browsers send none by themselves. Name them to have browsers refuse
    /// other pages even a key that leaked.
    pub cors_origins: Vec<String>,
    /// Largest body of a bulk creation, in bytes. Default 4,194,304: a thousand links with long targets. Raise it
    /// together with `links.url_bytes_max`.
    pub bulk_body_bytes_max: usize,
    /// Largest file that is imported, in bytes. Default 4,194,304: as many links as `import_rows_max` allows, of 400
    /// bytes each. It is held as a whole, so that nothing is imported of a file that is no CSV to its end, by each of
    /// `limits.bulk_in_flight_max` at most; and it has to arrive within `limits.body_read_ms_max`.
    pub import_body_bytes_max: usize,
    /// Rows in a file that is imported. Default 10,000: ten transactions, a second or two, and an answer of some
    /// megabytes. More take more calls.
    pub import_rows_max: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            cors_origins: vec!["*".to_owned()],
            bulk_body_bytes_max: 4 * 1_024 * 1_024,
            import_body_bytes_max: 4 * 1_024 * 1_024,
            import_rows_max: 10_000,
        }
    }
}

impl ApiConfig {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        if self.cors_origins.iter().any(|origin| origin != "*" && !is_origin(origin)) {
            let what = "must be origins such as https://app.example, without a path, or *";
            wrong.push(("api.cors_origins", what.to_owned()));
        }
        positive(wrong, "api.bulk_body_bytes_max", self.bulk_body_bytes_max as u64);
        positive(wrong, "api.import_body_bytes_max", self.import_body_bytes_max as u64);
        positive(wrong, "api.import_rows_max", self.import_rows_max as u64);
    }
}

/// Whether browsers could send it: they compare it byte by byte.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (text, right) in [
            ("https://app.example", true),
            ("http://127.0.0.1:8000", true),
            ("https://app.example/", false),
            ("https://app.example:443", false),
            ("https://App.example", false),
            ("app.example", false),
            ("null", false),
            ("data:x", false),
        ] {
            assert_eq!(is_origin(text), right, "{text}");
        }
    }
}
