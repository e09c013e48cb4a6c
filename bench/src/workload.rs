//! The workload file: what traffic to make. How a single request is chosen from it is `plan`'s business.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::LoadError;

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At random, as from many clients that don't know of each other.
    Poisson,
    /// At equal distances.
    Even,
    /// As fast as answers come: for maximum throughput; `rate_per_s` is ignored.
    Closed,
}

/// A workload; every field has a default, so an empty file is a valid one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Requests a second. Default 1000.
    pub rate_per_s: f64,
    /// How requests arrive. Default `poisson`.
    pub arrivals: Arrivals,
    /// How long to send, in seconds. Default 30.
    pub duration_s: f64,
    /// Connections, and so the most requests in flight. Default 64; raise it where the report says that it could not keep up.
    pub connections: usize,
    /// An answer later than this counts as a timeout. Default 5000.
    pub timeout_ms: u64,
    /// Makes the same requests again. Default: chosen at random and printed.
    pub seed: Option<u64>,
    /// Links that are created before the run.
    pub links: Links,
    /// What requests are made of.
    pub mix: Mix,
    /// Weights of the methods.
    pub methods: Methods,
}

/// Links that are created before the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// How many. Default 1000.
    pub count: usize,
    /// 0: all alike; 1: the k-th most popular gets 1/k of the first's requests. Default 1.
    pub zipf_exponent: f64,
}

/// Shares of requests, each between 0 and 1 and together at most 1; the rest asks for known codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// Codes that don't exist. Default 0.05.
    pub unknown_share: f64,
    /// Requests that are not HTTP, or hostile. Default 0.
    pub malformed_share: f64,
    /// The client closes the connection before the answer. Default 0.
    pub hang_up_share: f64,
    /// Share of crawlers' user agents in all of the above. Default 0.1.
    pub bot_share: f64,
}

/// Weights of the methods; only their ratio counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Methods {
    /// Default 98.
    pub get: f64,
    /// Default 2.
    pub head: f64,
    /// Default 0: redirects don't take it.
    pub post: f64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            rate_per_s: 1000.0,
            arrivals: Arrivals::Poisson,
            duration_s: 30.0,
            connections: 64,
            timeout_ms: 5000,
            seed: None,
            links: Links::default(),
            mix: Mix::default(),
            methods: Methods::default(),
        }
    }
}

impl Default for Links {
    fn default() -> Self {
        Self { count: 1000, zipf_exponent: 1.0 }
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self { unknown_share: 0.05, malformed_share: 0.0, hang_up_share: 0.0, bot_share: 0.1 }
    }
}

impl Default for Methods {
    fn default() -> Self {
        Self { get: 98.0, head: 2.0, post: 0.0 }
    }
}

impl Workload {
    /// Reads a workload from TOML.
    ///
    /// # Errors
    /// When it is not TOML, has a field that we don't know, or a value that makes no sense.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let workload: Self = toml::from_str(text)?;
        let wrong = workload.check();
        if wrong.is_empty() { Ok(workload) } else { Err(LoadError::Workload(wrong)) }
    }

    /// Reads a workload file.
    ///
    /// # Errors
    /// As [`Workload::parse`], and when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let read = std::fs::read_to_string(path);
        Self::parse(&read.map_err(|source| LoadError::File { path: path.to_owned(), source })?)
    }

    /// Everything that is wrong with it: the field and what.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut within = |field, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                wrong.push((field, format!("{value} is not between {low} and {high}")));
            }
        };
        // The upper limits are beyond what one machine sends, and keep sums and tables from overflowing.
        within("rate_per_s", self.rate_per_s, 0.001, 10_000_000.0);
        within("duration_s", self.duration_s, 0.001, 1_000_000.0);
        within("links.zipf_exponent", self.links.zipf_exponent, 0.0, 10.0);
        within("mix.unknown_share", self.mix.unknown_share, 0.0, 1.0);
        within("mix.malformed_share", self.mix.malformed_share, 0.0, 1.0);
        within("mix.hang_up_share", self.mix.hang_up_share, 0.0, 1.0);
        within("mix.bot_share", self.mix.bot_share, 0.0, 1.0);
        let mix = &self.mix;
        within("mix", mix.unknown_share + mix.malformed_share + mix.hang_up_share, 0.0, 1.0);
        let methods = [self.methods.get, self.methods.head, self.methods.post];
        if methods.iter().any(|weight| !weight.is_finite() || *weight < 0.0)
            || methods.iter().sum::<f64>() <= 0.0
        {
            wrong.push(("methods", "weights are not negative and at least one is positive".to_owned()));
        }
        if !(1..=100_000).contains(&self.connections) {
            wrong.push(("connections", format!("{} is not between 1 and 100000", self.connections)));
        }
        if self.timeout_ms == 0 {
            wrong.push(("timeout_ms", "0 would let nothing be answered".to_owned()));
        }
        if self.links.count > 10_000_000 {
            wrong.push(("links.count", "more than 10000000 don't fit in memory".to_owned()));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Workload};
    use crate::error::LoadError;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Workload::parse("").unwrap(), Workload::default());
    }

    #[test]
    fn fields_are_read() {
        let text =
            "rate_per_s = 5\narrivals = 'even'\nseed = 9\n[links]\ncount = 3\n[mix]\nunknown_share = 0.5";
        let workload = Workload::parse(text).unwrap();
        assert_eq!((workload.arrivals, workload.seed, workload.links.count), (Arrivals::Even, Some(9), 3));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = "rate_per_s = -1\nconnections = 0\ntimeout_ms = 0\n[mix]\nunknown_share = 0.7\nhang_up_share = 0.7\n\
                    [methods]\nget = 0\nhead = 0";
        let Err(LoadError::Workload(wrong)) = Workload::parse(text) else { panic!("it is refused") };
        let fields: Vec<_> = wrong.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["rate_per_s", "mix", "methods", "connections", "timeout_ms"]);
    }

    #[test]
    fn unknown_fields_and_no_toml_are_refused() {
        for text in ["rat_per_s = 1", "=", "duration_s = 'long'", "duration_s = nan"] {
            assert!(Workload::parse(text).is_err(), "{text}");
        }
    }
}
