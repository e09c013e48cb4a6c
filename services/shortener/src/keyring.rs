//! API keys as a process remembers them: those that were accepted and those that were not, for seconds, so that neither is a
//! question to the store each time. Only hashes are kept, and few of them; who may ask the store is decided elsewhere.

use std::time::Duration;

use moka::sync::Cache;

use crate::keys::{ApiKey, now};
use crate::shared::{Change, Listener, SharedState, listen};

/// Seconds for which an answer holds, and so the longest a revoked key still works.
pub const KEY_CACHE_S: u64 = 10;

/// Keys remembered, accepted or not: far more than one installation hands out. Wrong ones crowd out only each other.
const ENTRIES_MAX: u64 = 10_000;

/// For how long a key that was accepted once may be asked for whoever else is on its client's network: its owner does not
/// come anew after a night.
const TRUSTED_FOR: Duration = Duration::from_secs(86_400);

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is accepted.
    Accepted(ApiKey),
    /// It is not.
    Refused,
    /// It has to be asked for; it was accepted before.
    Trusted,
    /// It has to be asked for, and may be anything.
    No,
}

/// What is remembered.
pub(crate) struct Keyring {
    accepted: Cache<[u8; 32], ApiKey>,
    refused: Cache<[u8; 32], ()>,
    trusted: Cache<[u8; 32], ()>,
    _changes: Listener,
}

impl Keyring {
    /// Nothing yet, within a tokio runtime.
    pub(crate) fn new(shared: &dyn SharedState) -> Self {
        fn cache<T: Clone + Send + Sync + 'static>(life: Duration) -> Cache<[u8; 32], T> {
            Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(life).build()
        }
        let life = Duration::from_secs(KEY_CACHE_S);
        let (accepted, refused) = (cache(life), cache(life));
        let answers: (Cache<_, ApiKey>, Cache<_, ()>) = (accepted.clone(), refused.clone());
        let changes = listen(shared, move |change| {
            if matches!(change, Change::Keys | Change::Unknown) {
                answers.0.invalidate_all();
                answers.1.invalidate_all();
            }
        });
        Self { accepted, refused, trusted: cache(TRUSTED_FOR), _changes: changes }
    }

    /// By the hash of a key.
    pub(crate) fn find(&self, hash: &[u8; 32]) -> Known {
        match self.accepted.get(hash) {
            Some(key) if key.is_valid_at(now()) => Known::Accepted(key),
            Some(_) => Known::Refused,
            None if self.refused.contains_key(hash) => Known::Refused,
            None if self.trusted.contains_key(hash) => Known::Trusted,
            None => Known::No,
        }
    }

    /// The store has answered.
    pub(crate) fn learn(&self, hash: [u8; 32], key: Option<&ApiKey>) {
        match key {
            Some(key) => {
                self.trusted.insert(hash, ());
                self.accepted.insert(hash, key.clone());
            }
            None => {
                self.trusted.invalidate(&hash);
                self.refused.insert(hash, ());
            }
        }
    }
}
