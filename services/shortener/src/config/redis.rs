//! The state that instances share.

use std::path::PathBuf;

use serde::Deserialize;

use super::{SecretText, Wrong, positive};

/// Redis for what instances share: cached links, invalidation, limits, leases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://user:password@host:port`, or several, separated by commas, of one Redis Cluster. Default empty: this
    /// instance shares nothing. `rediss://` speaks TLS, and trusts whoever has a certificate for the host's name.
    pub url: SecretText,
    /// Certificates (PEM) of who may have signed those of `rediss://`. Default: whom the system trusts; set it for an
    /// authority of one's own.
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
            let is_tls = node.starts_with("rediss:");
            if redis::parse_redis_url(node).is_none() || redis::Client::open(node).is_err() {
                let form = "must be redis://user:password@host:port, or rediss:// with TLS";
                wrong.push(("redis.url", form.to_owned()));
            } else if is_tls && node.contains('#') {
                // `#insecure` is for no check of certificates, which is not compiled in: it would never connect.
                wrong.push(("redis.url", "must have nothing after a #".to_owned()));
            }
        }
        if let Some(file) = &self.ca_file {
            if !self.nodes().any(|node| node.starts_with("rediss:")) {
                wrong.push(("redis.ca_file", "is for rediss:// in redis.url".to_owned()));
            } else if let Err(error) = std::fs::read(file) {
                wrong.push(("redis.ca_file", format!("can't be read: {error}")));
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
