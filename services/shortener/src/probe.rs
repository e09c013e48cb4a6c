//! Requests of our own that watch whether everything works: told from visitors by a token, and left out of clicks and of
//! what is promised to users. What they ask for is answered as for everybody.

use http::{HeaderMap, HeaderName};

use crate::config::HttpConfig;

/// The field in which a probe says that it is one.
pub static HEADER: HeaderName = HeaderName::from_static("hoplog-probe");

/// Whether a request is a probe of ours. One with another token is a visitor's, and is not told so.
pub(crate) fn is_probe(headers: &HeaderMap, config: &HttpConfig) -> bool {
    let Some(token) = headers.get(&HEADER).filter(|_| !config.probe_token.is_empty()) else {
        return false;
    };
    // Hashes compare in constant time, so that how long a refusal takes tells nothing of the token.
    blake3::hash(token.as_bytes()) == blake3::hash(config.probe_token.expose().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretText;

    #[test]
    fn only_the_token_makes_a_probe() {
        const TOKEN: &str = "0123456789abcdef";
        for (configured, sent, expected) in [
            (TOKEN, Some(TOKEN), true),
            (TOKEN, Some("0123456789abcdeF"), false),
            (TOKEN, Some(""), false),
            (TOKEN, None, false),
            ("", Some(""), false),
            ("", Some(TOKEN), false),
        ] {
            let config = HttpConfig { probe_token: SecretText::new(configured), ..HttpConfig::default() };
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert(&HEADER, sent.parse().unwrap());
            }
            assert_eq!(is_probe(&headers, &config), expected, "{configured:?} {sent:?}");
        }
    }
}
