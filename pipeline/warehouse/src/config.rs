//! Where ClickHouse is, who asks, and how long it keeps what it has. Nothing here connects.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// Longest time to live, 50 years: a row's end is a `DateTime` of 32 bits, which ends in 2106. Beyond that it wraps, and
/// rows would expire as they are inserted.
const TTL_DAYS_MAX: u32 = 18_250;

/// Configuration of the warehouse.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarehouseConfig {
    /// ClickHouse's HTTP interface. Default `http://127.0.0.1:8123`, the embedded engine; change it for a server of
    /// your own.
    pub url: String,
    /// Database of all tables. Default `hoplog`; change it where two installations share a server.
    pub database: String,
    /// A cluster in the servers' `remote_servers`: each table becomes a `Replicated…MergeTree` table on all of its
    /// servers, behind a `Distributed` one. Default none: one server. The servers need a Keeper and the macros `shard` and
    /// `replica`. It can't be changed for tables that are there.
    pub cluster: Option<String>,
    /// Replicated tables on one server that has a Keeper and the macros `shard` and `replica`. Default false; set it for a
    /// server of your own, since without a Keeper a kill can leave a token without its rows. A cluster has them anyway.
    pub replicated: bool,
    /// User. Default empty: the server's default user.
    pub user: String,
    /// The user's password. Default empty.
    pub password: Secret,
    /// Longest time an insert may take, milliseconds. Default 60000; with Kafka keep it below
    /// `max.poll.interval.ms`.
    pub insert_ms_max: u64,
    /// Longest time any other query may take, milliseconds. Default 60000.
    pub query_ms_max: u64,
    /// Days that kept events, dead letters and producers' sequences stay, 9 to 18250. Default 30; disk use grows with it.
    pub requests_ttl_days: u32,
    /// Days that single clicks stay. Default 400: a year can be compared with the one before.
    pub clicks_ttl_days: u32,
    /// Days that the rollups and the ledger stay. Default 1100: three years, at little cost.
    pub rollups_ttl_days: u32,
    /// Days that spans stay, 9 to 18250. Default 30: as long as the kept events whose traces they are.
    pub traces_ttl_days: u32,
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".to_owned(),
            database: "hoplog".to_owned(),
            cluster: None,
            replicated: false,
            user: String::new(),
            password: Secret::default(),
            insert_ms_max: 60_000,
            query_ms_max: 60_000,
            requests_ttl_days: 30,
            clicks_ttl_days: 400,
            rollups_ttl_days: 1100,
            traces_ttl_days: 30,
        }
    }
}

impl WarehouseConfig {
    /// All that is wrong, as field and reason. Empty: nothing is.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, field: &'static str, reason: &str| {
            if !holds {
                wrong.push((field, reason.to_owned()));
            }
        };
        let http = self.url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
        require(http, "url", "must start with http:// and name a host");
        let identifier = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let named = !self.database.is_empty() && self.database.bytes().all(identifier);
        require(named, "database", "must be letters, digits and underscores");
        let in_cluster = |byte: u8| identifier(byte) || byte == b'-';
        let cluster =
            self.cluster.as_ref().is_none_or(|name| !name.is_empty() && name.bytes().all(in_cluster));
        require(cluster, "cluster", "must be letters, digits, underscores and hyphens");
        let ms = 100..=3_600_000;
        require(ms.contains(&self.insert_ms_max), "insert_ms_max", "must be 100 to 3600000");
        require(ms.contains(&self.query_ms_max), "query_ms_max", "must be 100 to 3600000");
        // An event may be a week older than its message: below that, inserts would expire at once.
        let days = 9..=TTL_DAYS_MAX;
        require(days.contains(&self.requests_ttl_days), "requests_ttl_days", "must be 9 to 18250");
        require(days.contains(&self.clicks_ttl_days), "clicks_ttl_days", "must be 9 to 18250");
        let longest = self.requests_ttl_days.max(self.clicks_ttl_days);
        let covers = days.contains(&self.rollups_ttl_days) && self.rollups_ttl_days >= longest;
        require(
            covers,
            "rollups_ttl_days",
            "must be 9 to 18250 and not below requests_ttl_days and clicks_ttl_days",
        );
        // A span may be a week old, too.
        require(days.contains(&self.traces_ttl_days), "traces_ttl_days", "must be 9 to 18250");
        wrong
    }

    /// Whether a Keeper keeps the tokens.
    pub(crate) const fn is_replicated(&self) -> bool {
        self.replicated || self.cluster.is_some()
    }

    /// What follows a table's name in DDL.
    pub(crate) fn on_cluster(&self) -> String {
        self.cluster.as_ref().map(|cluster| format!(" ON CLUSTER `{cluster}`")).unwrap_or_default()
    }

    /// The name under which rows are on a server's disk.
    pub(crate) fn local(&self, table: &str) -> String {
        if self.cluster.is_some() { format!("{table}_local") } else { table.to_owned() }
    }

    /// The table whose rows are altered, as an `ALTER TABLE` names it.
    pub(crate) fn stored_in(&self, table: &str) -> String {
        self.local(table) + &self.on_cluster()
    }

    pub(crate) fn insert_timeout(&self) -> Duration {
        Duration::from_millis(self.insert_ms_max)
    }

    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_millis(self.query_ms_max)
    }
}

/// A string that shows itself to nobody.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret over.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one who needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "[secret]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_right_and_hides_its_password() {
        let config = WarehouseConfig { password: Secret::new("open sesame"), ..WarehouseConfig::default() };
        assert_eq!(config.check(), []);
        assert!(!format!("{config:?}").contains("sesame"));
    }

    #[test]
    fn times_to_live_end_before_clickhouse_s_time_does() {
        for (days, wrong) in [(8, 4), (9, 0), (TTL_DAYS_MAX, 0), (TTL_DAYS_MAX + 1, 4)] {
            let config = WarehouseConfig {
                requests_ttl_days: days,
                clicks_ttl_days: days,
                rollups_ttl_days: days,
                traces_ttl_days: days,
                ..WarehouseConfig::default()
            };
            assert_eq!(config.check().len(), wrong, "{days}");
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let config = WarehouseConfig {
            url: "https://example.org".to_owned(),
            database: "hop`log".to_owned(),
            cluster: Some("a`".to_owned()),
            insert_ms_max: 0,
            query_ms_max: 0,
            requests_ttl_days: 1,
            clicks_ttl_days: 0,
            rollups_ttl_days: 10_000_000,
            traces_ttl_days: 0,
            ..WarehouseConfig::default()
        };
        let fields: Vec<_> = config.check().into_iter().map(|(field, _)| field).collect();
        let all = "url database cluster insert_ms_max query_ms_max requests_ttl_days clicks_ttl_days rollups_ttl_days traces_ttl_days";
        assert_eq!(fields, all.split(' ').collect::<Vec<_>>());
    }
}
