//! Configuration of the shortener, a file a concern, with a check that names every mistake at once.
//! It does not read files or the environment: the binary does.

mod api;
mod breaker;
mod cache;
mod http;
mod limits;
mod links;
mod redirect;
mod redis;
mod secret;
mod statistics;
mod store;

pub use api::ApiConfig;
pub use breaker::BreakerConfig;
pub use cache::CacheConfig;
pub use http::HttpConfig;
pub use limits::LimitsConfig;
pub use links::LinksConfig;
pub use redirect::{CACHE_LIFETIME_S_MAX, RedirectConfig};
pub use redis::RedisConfig;
pub use secret::{SecretKey, SecretText};
pub use statistics::StatisticsConfig;
pub use store::{PostgresConfig, StoreConfig};

use serde::Deserialize;

/// What is wrong: the path of a field and what it must be.
type Wrong = Vec<(&'static str, String)>;

/// Everything the shortener can be told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShortenerConfig {
    /// What links may look like.
    pub links: LinksConfig,
    /// The management API.
    pub api: ApiConfig,
    /// How links redirect that do not say so themselves.
    pub redirect: RedirectConfig,
    /// The caches before the link store.
    pub cache: CacheConfig,
    /// The link store.
    pub store: StoreConfig,
    /// When requests are refused before work is done for them.
    pub limits: LimitsConfig,
    /// The public listener.
    pub http: HttpConfig,
    /// What instances share.
    pub redis: RedisConfig,
    /// When a dependency that fails is left alone.
    pub breaker: BreakerConfig,
    /// Counts and visits.
    pub statistics: StatisticsConfig,
}

impl ShortenerConfig {
    /// All that is wrong, each with the path of its field. Empty when nothing is.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        self.links.check(&mut wrong);
        self.api.check(&mut wrong);
        self.redirect.check(&mut wrong);
        self.cache.check(&mut wrong);
        self.store.check(&self.cache, &mut wrong);
        self.limits.check(&mut wrong);
        self.http.check(&mut wrong);
        self.redis.check(&mut wrong);
        self.breaker.check(&mut wrong);
        self.statistics.check(&mut wrong);
        wrong
    }
}

fn positive(wrong: &mut Wrong, field: &'static str, number: u64) {
    if number == 0 {
        wrong.push((field, "must not be 0".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_right_and_mistakes_are_all_named() {
        assert_eq!(ShortenerConfig::default().check(), []);
        let mut config = ShortenerConfig::default();
        config.links.base_url = "ftp://s.example/".to_owned();
        config.links.schemes = ["https", "JavaScript", "data", "my app"].map(str::to_owned).to_vec();
        config.links.code_length = 3;
        config.http.header_bytes_max = 100;
        config.limits.in_flight_max = 1;
        config.cache.stale_s = 0;
        config.links.slug_bytes_max = 2_049;
        config.links.lease_ids = 0;
        let named: Vec<_> = config.check().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            named,
            [
                "links.base_url",
                "links.schemes",
                "links.schemes",
                "links.schemes",
                "links.code_length",
                "links.slug_bytes_max",
                "links.lease_ids",
                "cache.stale_s",
                "limits.api_in_flight_max",
                "http.header_bytes_max"
            ]
        );
        config = ShortenerConfig::default();
        config.links.schemes = ["mailto", "intent"].map(str::to_owned).to_vec();
        let [(_, why)] = &config.check()[..] else { panic!("one mistake") };
        assert!(why.starts_with("\"intent\" runs code"), "{why}");
        config.links.schemes.clear();
        assert_eq!(config.check(), [("links.schemes", "names none".to_owned())]);
    }
}
