//! Hands out codes from ranges of ids leased from the store, one range a code length.
//! It does not know which codes custom slugs have taken: the store says so at the insert.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::Mutex;

use super::{CODE_LENGTH_MAX, CODE_LENGTH_MIN, Permutation};
use crate::store::{LinkStore, StoreError};

/// A lease takes at most this share of a domain, so that restarts don't use up the short ones.
const DOMAIN_SHARE: u128 = 100_000;

/// Codes that routes of our own have. Others can't be generated: they hold a dot or another length.
const RESERVED: &[&str] = &["rest"];

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// Every code of this length is taken; a longer one is needed.
    #[error("all codes of length {0} are used")]
    Exhausted(u32),
    /// The length is outside of what is supported.
    #[error("codes have {CODE_LENGTH_MIN} to {CODE_LENGTH_MAX} letters, not {0}")]
    Length(u32),
    /// The store gave no range.
    #[error("no range of codes could be leased")]
    Store(#[source] Arc<StoreError>),
}

/// The source of generated codes of one process.
pub struct Codes {
    store: Arc<dyn LinkStore>,
    secret: [u8; 32],
    lease_ids: u32,
    lengths: std::sync::Mutex<HashMap<u32, Arc<Length>>>,
}

/// Codes of a length.
struct Length {
    permutation: Permutation,
    // Held while leasing, so that creators that arrive meanwhile wait for that lease instead of asking for theirs.
    leased: Mutex<Leased>,
}

#[derive(Default)]
struct Leased {
    ids: Range<u64>,
    /// When the store gave no range last, and why.
    failed: Option<(Instant, Arc<StoreError>)>,
}

impl Codes {
    /// Codes permuted with `secret`, in leases of `lease_ids`.
    pub fn new(store: Arc<dyn LinkStore>, secret: [u8; 32], lease_ids: u32) -> Self {
        Self { store, secret, lease_ids, lengths: std::sync::Mutex::default() }
    }

    /// A code that no other call, in any process on this store, has had or will have.
    pub async fn next(&self, length: u32) -> Result<String, CodeError> {
        if !(CODE_LENGTH_MIN..=CODE_LENGTH_MAX).contains(&length) {
            return Err(CodeError::Length(length));
        }
        let arrived = Instant::now();
        let of_length = self.length(length);
        let mut leased = of_length.leased.lock().await;
        loop {
            if leased.ids.is_empty() {
                match &leased.failed {
                    // It was waited for: a store that hangs takes its time from each once, and not from one after the other.
                    Some((at, error)) if *at >= arrived => return Err(CodeError::Store(Arc::clone(error))),
                    _ => self.lease(length, &of_length.permutation, &mut leased).await?,
                }
            }
            let Some(id) = leased.ids.next() else { continue };
            match of_length.permutation.code(u128::from(id)) {
                Some(code) if RESERVED.contains(&code.as_str()) => {}
                Some(code) => return Ok(code),
                None => return Err(CodeError::Exhausted(length)),
            }
        }
    }

    fn length(&self, length: u32) -> Arc<Length> {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Length {
            permutation: Permutation::for_length(&self.secret, length),
            leased: Mutex::default(),
        };
        Arc::clone(lengths.entry(length).or_insert_with(|| Arc::new(new())))
    }

    async fn lease(
        &self,
        length: u32,
        permutation: &Permutation,
        leased: &mut Leased,
    ) -> Result<(), CodeError> {
        let share = permutation.domain() / DOMAIN_SHARE;
        let count = u64::try_from(share).unwrap_or(u64::MAX).clamp(1, u64::from(self.lease_ids.max(1)));
        match self.store.lease(length, count).await {
            Ok(ids) => leased.ids = ids,
            Err(error) => {
                let error = Arc::new(error);
                leased.failed = Some((Instant::now(), Arc::clone(&error)));
                return Err(CodeError::Store(error));
            }
        }
        Ok(())
    }
}
