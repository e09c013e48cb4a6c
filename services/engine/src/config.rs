//! The engine's configuration and what can be wrong with it. Where its values come from is the binary's affair.

use crate::users::User;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The version of libchdb that this crate is written and tested against (`chdb_version()`).
pub const LIBRARY_VERSION: &str = "26.7.3";

/// The package version that holds it, which is also its folder's name in the cache.
pub const LIBRARY_PACKAGE: &str = "26.7.3-stable.1";

/// Configuration of `hoplog engine`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Where tables and metadata are kept. Default `.hoplog/engine`.
    pub data_dir: PathBuf,
    /// libchdb. Default: [`library_default`]. Name one to run without the cache, as a container image does.
    pub library: Option<PathBuf>,
    /// Where to listen. Default 127.0.0.1:8123, ClickHouse's own port. Beyond loopback, give every user a password.
    pub listen: SocketAddr,
    /// Who may ask. Default: `default` without a password, as in ClickHouse, and `analyst`, who only reads.
    pub users: Vec<User>,
    /// Bring each insert to the disk before it is acknowledged, so that it survives a loss of power. Default true.
    /// Switch off where the disk is slow and a power cut may take the last half minute.
    pub sync_inserts: bool,
    /// Queries at once; one more is answered 503, code 202. Default 200: a collector inserts into a dozen tables at once,
    /// two ranges at a time, and others come and ask beside it. Each takes a thread while it runs.
    pub queries_max: usize,
    /// Connections at once; one more waits to be accepted. Default 12,000: an idle one costs a few KiB.
    pub connections_max: usize,
    /// Sessions (`session_id`) at once. Default 100.
    pub sessions_max: usize,
    /// Threads of one query, and of background merges. Default 2. Raise on a machine that runs little else.
    pub threads: usize,
    /// Memory of the whole engine. Default 2 GiB. A query beyond it fails with code 241.
    pub memory_bytes_max: u64,
    /// Memory of one query. Default 1 GiB.
    pub query_memory_bytes_max: u64,
    /// SQL text without the data of an insert, held in memory. Default 4 MiB.
    pub query_text_bytes_max: usize,
    /// A body, as sent. Default 4 GiB. It is streamed, so this bounds time and disk, not memory.
    pub body_bytes_max: u64,
    /// A response held back for `wait_end_of_query`. Default 64 MiB.
    pub response_buffer_bytes_max: usize,
    /// How long a query of a read-only user runs, at most and by default. Default 60 s.
    pub reader_seconds_max: u64,
    /// A head that does not arrive, and an idle connection, are given up after this. Default 60 s.
    pub idle_ms_max: u64,
    /// A client that stops sending its body, or reading its response, is given up after this. Default 30 s.
    pub stall_ms_max: u64,
    /// At shutdown, how long running requests may still take. Default 10 s.
    pub shutdown_ms_max: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            data_dir: ".hoplog/engine".into(),
            library: None,
            listen: (Ipv4Addr::LOCALHOST, 8123).into(),
            users: vec![
                User { name: "default".into(), password: "".into(), readonly: false },
                User { name: "analyst".into(), password: "".into(), readonly: true },
            ],
            sync_inserts: true,
            queries_max: 200,
            connections_max: 12_000,
            sessions_max: 100,
            threads: 2,
            memory_bytes_max: 2 << 30,
            query_memory_bytes_max: 1 << 30,
            query_text_bytes_max: 4 << 20,
            body_bytes_max: 4 << 30,
            response_buffer_bytes_max: 64 << 20,
            reader_seconds_max: 60,
            idle_ms_max: 60_000,
            stall_ms_max: 30_000,
            shutdown_ms_max: 10_000,
        }
    }
}

impl EngineConfig {
    /// Everything that is wrong: the field's path and why.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut names: Vec<&str> = self.users.iter().map(|user| user.name.as_str()).collect();
        names.sort_unstable();
        if self.users.is_empty() {
            wrong.push(("users", "nobody could ask anything".into()));
        }
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            wrong.push(("users", "a name occurs twice".into()));
        }
        if !self.listen.ip().is_loopback() && self.users.iter().any(|user| user.password.is_empty()) {
            wrong.push(("users", format!("every user needs a password to listen on {}", self.listen)));
        }
        for (field, value, least) in [
            ("queries_max", self.queries_max as u64, 2),
            ("connections_max", self.connections_max as u64, 1),
            ("threads", self.threads as u64, 1),
            ("memory_bytes_max", self.memory_bytes_max, 256 << 20),
            ("query_memory_bytes_max", self.query_memory_bytes_max, 16 << 20),
            ("query_text_bytes_max", self.query_text_bytes_max as u64, 1 << 10),
            ("body_bytes_max", self.body_bytes_max, 1 << 10),
            ("reader_seconds_max", self.reader_seconds_max, 1),
            ("idle_ms_max", self.idle_ms_max, 100),
            ("stall_ms_max", self.stall_ms_max, 100),
        ] {
            if value < least {
                wrong.push((field, format!("{value} is too little, {least} is the least")));
            }
        }
        // One thread a query, and tokio has 512 for blocking work.
        if self.queries_max > 400 {
            wrong.push(("queries_max", format!("{} is too much, 400 is the most", self.queries_max)));
        }
        wrong
    }

    /// The library to load.
    pub fn library_path(&self) -> PathBuf {
        self.library.clone().unwrap_or_else(library_default)
    }
}

/// `libchdb.so` in the cache that `cargo xtask up` fills:
/// `${HOPLOG_CACHE_DIR:-${XDG_CACHE_HOME:-~/.cache}/hoplog}/engine/<package version>/libchdb.so`.
pub fn library_default() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("HOPLOG_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("hoplog")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/hoplog")))
        .unwrap_or_else(|| PathBuf::from(".cache/hoplog"));
    cache.join("engine").join(LIBRARY_PACKAGE).join("libchdb.so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_right_and_every_mistake_is_named() {
        assert_eq!(EngineConfig::default().check(), []);
        let wrong = EngineConfig {
            listen: ([0, 0, 0, 0], 8123).into(),
            queries_max: 0,
            threads: 0,
            ..EngineConfig::default()
        };
        let fields: Vec<_> = wrong.check().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["users", "queries_max", "threads"]);
    }
}
