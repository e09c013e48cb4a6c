//! The state that instances share.

use std::path::{Path, PathBuf};

use redis::TlsCertificates;
use serde::Deserialize;

use super::{SecretText, Wrong, positive};

/// Redis for what instances share: cached links, invalidation, limits, leases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://user:password@host:port`, or several, separated by commas, of one Redis Cluster. Default empty: this
    /// instance shares nothing. `rediss://`, for all of them or for none, speaks TLS, and trusts whoever has a certificate for
    /// the host's name.
    pub url: SecretText,
    /// Certificates (PEM) of who may have signed those of `rediss://`. Default: whom the system trusts; set it for an
    /// authority of one's own. Read again for each connection, so that it can be replaced.
    pub ca_file: Option<PathBuf>,
    /// Whether a single URL is that of a Redis Cluster, such as one name for all its nodes. Default false.
    pub cluster: bool,
    /// What all keys and channels begin with. Default `hoplog:`; set it where installations share a Redis.
    pub prefix: String,
    /// Deadline of a call. Default 50: ten times what a busy Redis nearby takes, and little for who waits for a
    /// redirect when it hangs.
    pub call_ms_max: u64,
    /// Deadline of connecting. Default 2,000; nothing waits for it.
    pub connect_ms_max: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: SecretText::default(),
            ca_file: None,
            cluster: false,
            prefix: "hoplog:".to_owned(),
            call_ms_max: 50,
            connect_ms_max: 2_000,
        }
    }
}

impl RedisConfig {
    /// The URLs, one a node.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.url.expose().split(',').map(str::trim).filter(|url| !url.is_empty())
    }

    pub(super) fn check(&self, wrong: &mut Wrong) {
        for node in self.nodes() {
            // Neither the URL nor the error is shown: there may be a password in it.
            if redis::parse_redis_url(node).is_none() || redis::Client::open(node).is_err() {
                let form = "must be redis://user:password@host:port, or rediss:// with TLS";
                wrong.push(("redis.url", form.to_owned()));
            } else if is_tls(node) && node.contains('#') {
                // `#insecure` is for no check of certificates, which is not compiled in: it would never connect.
                wrong.push(("redis.url", "must have nothing after a #".to_owned()));
            }
        }
        let with_tls = self.nodes().filter(|node| is_tls(node)).count();
        if with_tls > 0 && with_tls < self.nodes().count() {
            wrong.push(("redis.url", "must be rediss:// for all nodes, or for none".to_owned()));
        }
        if let Some(file) = &self.ca_file {
            if with_tls == 0 {
                wrong.push(("redis.ca_file", "is for rediss:// in redis.url".to_owned()));
            } else if let Err(problem) = check_authorities(file) {
                wrong.push(("redis.ca_file", problem));
            }
        }
        if self.prefix.is_empty() || self.prefix.bytes().any(|byte| matches!(byte, b'{' | b'}' | 0..=b' ')) {
            // Braces say what a cluster places a key by: all keys would be on one node.
            wrong.push(("redis.prefix", "must not be empty and hold no space and no brace".to_owned()));
        }
        positive(wrong, "redis.call_ms_max", self.call_ms_max);
        positive(wrong, "redis.connect_ms_max", self.connect_ms_max);
    }
}

fn is_tls(node: &str) -> bool {
    redis::parse_redis_url(node).is_some_and(|url| url.scheme() == "rediss")
}

/// Whether connections will be able to make of a file whom they trust; else what is wrong with it.
fn check_authorities(file: &Path) -> Result<(), String> {
    let pem = std::fs::read(file).map_err(|error| format!("can't be read: {error}"))?;
    // The library takes a file without any, and trusts nobody then.
    let mut lines = pem.split(|byte| matches!(byte, b'\n' | b'\r'));
    if !lines.any(|line| line.starts_with(b"-----BEGIN CERTIFICATE-----")) {
        return Err("has no certificate in it (PEM)".to_owned());
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
    // Nothing is connected to: any address will do, and this one has no password that an error could show.
    let client = redis::Client::build_with_tls("rediss://localhost", certificates);
    client.map(drop).map_err(|error| format!("has a certificate that is none: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretText;

    fn mistakes(url: &str, ca_file: Option<PathBuf>) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let url = SecretText::new(url);
        RedisConfig { url, ca_file, ..RedisConfig::default() }.check(&mut wrong);
        wrong
    }

    #[test]
    fn a_wrong_url_is_named_and_not_shown() {
        for right in ["redis://:secret@a", "rediss://u:secret@a:1,rediss://b:1", "redis://a, redis://b", ""] {
            assert_eq!(mistakes(right, None), [], "{right}");
        }
        for wrong in [
            "http://u:secret@a",
            "redis://u:secret@a:port",
            "rediss://u:secret@a#insecure",
            "rediss://u:secret@a,redis://u:secret@b",
            "redis://u:secret@a,REDISS://u:secret@b",
        ] {
            let found = mistakes(wrong, None);
            assert_eq!((found.len(), found[0].0), (1, "redis.url"), "{wrong}: {found:?}");
            assert!(!format!("{found:?}").contains("secret"), "{found:?}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_named_with_what_is_wrong() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("ca.pem");
        let problem = |url: &str| match &mistakes(url, Some(file.clone()))[..] {
            [("redis.ca_file", problem)] => problem.clone(),
            other => panic!("{other:?}"),
        };
        assert!(problem("redis://a").contains("rediss://"));
        assert!(problem("rediss://a").starts_with("can't be read"));
        let section =
            |what: &str, text: &str| format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n");
        for (content, expected) in [
            (String::new(), "no certificate"),
            ("not PEM".to_owned(), "no certificate"),
            (section("PRIVATE KEY", "AAAA"), "no certificate"),
            (section("CERTIFICATE", "AAAA"), "certificate that is none"),
            (section("CERTIFICATE", "~"), "certificate that is none"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned(), "certificate that is none"),
        ] {
            std::fs::write(&file, &content).unwrap();
            let problem = problem("rediss://a");
            assert!(problem.contains(expected), "{content}: {problem}");
        }
    }
}
