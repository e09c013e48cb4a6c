//! Limits by client and by key: buckets of tokens, shared by all instances where Redis is, and decided here alone
//! where it is not. What protects the process as a whole is `admission`'s.
//!
//! Visits never wait: they are decided by the buckets in memory, and `share` tells other instances afterwards. So a
//! client that goes to `n` instances at once may get up to `n` bursts, and what is taken within `share::ROUND`, before
//! they have learnt of each other; that is a debt, and over time it gets no more than its rate. Calls of the API take
//! from the shared bucket itself, and from one in memory while it does not answer.

mod share;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emitter::{Hop, System, Wait};

use self::table::Table;
use crate::client_addr::{Network, Prefixes};
use crate::config::LimitsConfig;
use crate::shared::local::{LocalState, cost};
use crate::shared::{Bucket, SharedError, SharedState, Taken};

/// What of the API a call counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// It changes nothing.
    Read,
    /// It changes a link or what belongs to one.
    Write,
    /// It makes, brings in or gives out many links.
    Bulk,
}

impl Calls {
    /// The name in answers, events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Bulk => "bulk",
        }
    }
}

/// Name of the limit of visits.
pub const LIMITER_VISITS: &str = "visits";
/// Name of the limit of unknown codes.
pub const LIMITER_UNKNOWN: &str = "unknown_codes";

/// Name of the limit of wrong keys.
pub const LIMITER_KEYS: &str = "wrong_keys";

/// A request is refused: too many of its client or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Name of the limit.
    pub limiter: &'static str,
    /// When to come again.
    pub retry_after: Duration,
}

impl Limited {
    /// `Retry-After`: whole seconds, at least one, so that who obeys is not refused again.
    pub fn retry_after_s(&self) -> u64 {
        seconds_up(self.retry_after).max(1)
    }
}

/// A bucket and what it gave to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// Which calls it is for.
    pub calls: Calls,
    /// The bucket.
    pub bucket: Bucket,
    /// What it gave.
    pub taken: Taken,
}

impl Quota {
    /// What refuses the call, if something does.
    pub fn limited(&self) -> Option<Limited> {
        let Taken { granted, retry_after, .. } = self.taken;
        (!granted).then_some(Limited { limiter: self.calls.as_str(), retry_after })
    }

    /// `RateLimit-Policy` and `RateLimit`, as of draft-ietf-httpapi-ratelimit-headers-10: what a full bucket holds and
    /// in how many seconds it fills; what is left and when it is full again.
    pub fn headers(&self) -> [(&'static str, String); 2] {
        let (name, burst) = (self.calls.as_str(), self.bucket.burst);
        let window_s = seconds_up(cost(self.bucket, burst));
        let (left, reset_s) = (self.taken.remaining, seconds_up(self.taken.full_after));
        [
            ("ratelimit-policy", format!("\"{name}\";q={burst};w={window_s}")),
            ("ratelimit", format!("\"{name}\";r={left};t={reset_s}")),
        ]
    }
}

/// All limits by client and key.
pub struct Limits {
    allow: Vec<Network>,
    prefixes: Prefixes,
    visits: Option<Table>,
    unknown: Option<Table>,
    keys: Option<Table>,
    calls: [Option<Bucket>; 3],
    shared: Arc<dyn SharedState>,
    /// For calls while the shared state is away.
    alone: LocalState,
    /// Names clients where others see them.
    secret: [u8; 32],
}

impl Limits {
    /// Limits that are shared through `shared`, if there is anybody to share with. `secret` is the same on all
    /// instances: addresses are hashed with it before they leave the process.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: &LimitsConfig, shared: Arc<dyn SharedState>, secret: &[u8; 32]) -> Arc<Self> {
        let is_shared = shared.kind() != LocalState::KIND;
        let table = |per_s: f64, burst: u32| {
            LimitsConfig::bucket(per_s, burst).map(|bucket| Table::new(bucket, config.clients_max, is_shared))
        };
        let limits = Arc::new(Self {
            allow: config.allow.clone(),
            prefixes: Prefixes::new(config.ipv4_prefix, config.ipv6_prefix),
            visits: table(config.visits_per_s, config.visits_burst),
            unknown: table(config.unknown_per_s, config.unknown_burst),
            keys: table(config.wrong_keys_per_s, config.wrong_keys_burst),
            calls: [
                LimitsConfig::bucket(config.read_per_s, config.read_burst),
                LimitsConfig::bucket(config.write_per_s, config.write_burst),
                LimitsConfig::bucket(config.bulk_per_s, config.bulk_burst),
            ],
            shared,
            alone: LocalState::default(),
            secret: blake3::derive_key("hoplog limits of clients v1", secret),
        });
        if is_shared {
            tokio::spawn(share::run(Arc::downgrade(&limits)));
        }
        limits
    }

    /// Takes a visit of the client, without waiting, at the time when its hop began.
    ///
    /// # Errors
    /// When it has made too many.
    pub fn visit(&self, hop: &Hop) -> Result<(), Limited> {
        let (Some(table), Some(client)) = (&self.visits, self.client(hop)) else { return Ok(()) };
        judge(LIMITER_VISITS, table.take(client, hop.began()))
    }

    /// Whether the client may have a code looked up that is not in memory.
    ///
    /// # Errors
    /// When it has asked for too many unknown ones.
    pub fn look_up(&self, hop: &Hop) -> Result<(), Limited> {
        let (Some(table), Some(client)) = (&self.unknown, self.client(hop)) else { return Ok(()) };
        judge(LIMITER_UNKNOWN, table.look(client, Instant::now()))
    }

    /// The code that the client asked for is unknown.
    ///
    /// # Errors
    /// When it has asked for too many.
    pub fn unknown_code(&self, hop: &Hop) -> Result<(), Limited> {
        let (Some(table), Some(client)) = (&self.unknown, self.client(hop)) else { return Ok(()) };
        judge(LIMITER_UNKNOWN, table.take(client, Instant::now()))
    }

    /// Whether the store may be asked for a key that the client has.
    ///
    /// # Errors
    /// When it has come with too many wrong ones.
    pub fn try_key(&self, hop: &Hop) -> Result<(), Limited> {
        let (Some(table), Some(client)) = (&self.keys, self.client(hop)) else { return Ok(()) };
        judge(LIMITER_KEYS, table.look(client, Instant::now()))
    }

    /// The store was asked for a key of the client, and it is none.
    pub fn wrong_key(&self, hop: &Hop) {
        if let (Some(table), Some(client)) = (&self.keys, self.client(hop)) {
            table.take(client, Instant::now());
        }
    }

    /// Takes a call of a key: from the bucket that all instances share, within the deadline that sharing has. Nothing
    /// where no limit holds.
    pub async fn call(&self, hop: &Hop, key_id: &str, calls: Calls) -> Option<Quota> {
        let bucket = self.calls[calls as usize]?;
        if hop.client().is_some_and(|address| self.is_allowed(address)) {
            return None;
        }
        let name = format!("{}:{key_id}", calls.as_str());
        let started = Instant::now();
        let taken = self.shared.take(&name, bucket, 1).await;
        if self.shared.kind() != LocalState::KIND && !matches!(taken, Err(SharedError::BreakerOpen)) {
            hop.waited(&Wait::since(started, System::Redis, "take", taken.is_err()));
        }
        let taken = taken.unwrap_or_else(|_| self.alone.take_now(&name, bucket, 1));
        Some(Quota { calls, bucket, taken })
    }

    /// The number that stands for a client. Nothing for who is not limited.
    fn client(&self, hop: &Hop) -> Option<u128> {
        let address = hop.client()?;
        if self.is_allowed(address) {
            return None;
        }
        Some(self.prefixes.client(address))
    }

    fn is_allowed(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(address))
    }

    /// What a client is called where other instances see it.
    fn name(&self, limiter: &str, client: u128) -> String {
        let hash = blake3::keyed_hash(&self.secret, &client.to_be_bytes());
        // 96 bits: two of a hundred million clients share a bucket once in 10^13.
        format!("{limiter}:{}", URL_SAFE_NO_PAD.encode(&hash.as_bytes()[..12]))
    }
}

fn judge(limiter: &'static str, taken: Taken) -> Result<(), Limited> {
    if taken.granted { Ok(()) } else { Err(Limited { limiter, retry_after: taken.retry_after }) }
}

/// Whole seconds, rounded up.
fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl FnOnce(&mut LimitsConfig)) -> Arc<Limits> {
        let mut config = LimitsConfig { visits_per_s: 1.0, visits_burst: 2, ..LimitsConfig::default() };
        change(&mut config);
        Limits::start(&config, Arc::new(LocalState::default()), &[7; 32])
    }

    fn hop(address: &str) -> Hop {
        let hop = Hop::detached();
        hop.client_address(address.parse().unwrap());
        hop
    }

    /// Whether each visit goes through.
    fn visits(limits: &Limits, addresses: &[&str]) -> Vec<bool> {
        addresses.iter().map(|address| limits.visit(&hop(address)).is_ok()).collect()
    }

    #[test]
    fn a_client_is_its_network() {
        let default = limits(|_| {});
        let v4 = ["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"];
        assert_eq!(visits(&default, &v4), [true, true, false, true]);
        let v6 = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"];
        assert_eq!(visits(&default, &v6), [true, true, false, true]);
        let wide = limits(|config| (config.ipv4_prefix, config.ipv6_prefix) = (24, 48));
        assert_eq!(
            visits(&wide, &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.3.1"]),
            [true, true, false, true]
        );
        let v6 = ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:1::1"];
        assert_eq!(visits(&wide, &v6), [true, true, false, true]);
    }

    #[test]
    fn some_are_never_limited() {
        let default = limits(|_| {});
        assert_eq!(visits(&default, &["127.0.0.1"; 5]), [true; 5]);
        assert!((0..5).all(|_| default.visit(&Hop::detached()).is_ok()), "nobody is no client");
        let off = limits(|config| config.visits_per_s = 0.0);
        assert_eq!(visits(&off, &["192.0.2.1"; 5]), [true; 5]);
        let allowed = limits(|config| config.allow = vec!["192.0.2.0/24".parse().unwrap()]);
        assert_eq!(visits(&allowed, &["192.0.2.1"; 5]), [true; 5]);
        assert_eq!(visits(&allowed, &["127.0.0.1"; 3]), [true, true, false]);
    }

    #[test]
    fn looking_takes_nothing_and_unknown_codes_do() {
        let limits = limits(|config| (config.unknown_per_s, config.unknown_burst) = (0.5, 1));
        let hop = hop("192.0.2.1");
        assert!((0..5).all(|_| limits.look_up(&hop).is_ok()));
        assert!(limits.unknown_code(&hop).is_ok());
        let limited = limits.look_up(&hop).unwrap_err();
        assert_eq!((limited.limiter, limited.retry_after_s()), ("unknown_codes", 2));
        assert!(limits.unknown_code(&hop).is_err());
    }

    #[tokio::test]
    async fn calls_say_what_is_left() {
        let limits = limits(|config| (config.write_per_s, config.write_burst) = (0.25, 2));
        let hop = hop("192.0.2.1");
        let first = limits.call(&hop, "k1", Calls::Write).await.unwrap();
        let [policy, left] = first.headers();
        assert_eq!(policy, ("ratelimit-policy", "\"write\";q=2;w=8".to_owned()));
        assert_eq!(left, ("ratelimit", "\"write\";r=1;t=4".to_owned()));
        limits.call(&hop, "k1", Calls::Write).await.unwrap();
        let third = limits.call(&hop, "k1", Calls::Write).await.unwrap().limited().unwrap();
        assert_eq!((third.limiter, third.retry_after_s()), ("write", 4));
        for (key, calls) in [("k2", Calls::Write), ("k1", Calls::Read)] {
            assert_eq!(limits.call(&hop, key, calls).await.unwrap().limited(), None, "{key} {calls:?}");
        }
    }
}
