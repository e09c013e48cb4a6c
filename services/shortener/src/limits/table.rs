//! The buckets of many clients in memory: bounded, without waiting, and with what was taken since other instances
//! were told. It knows no addresses, only numbers, and decides by nobody else's answer: that comes by [`Table::settle`].

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::shared::local::{cost, pour};
use crate::shared::{Bucket, Taken};

/// Two cores rarely want the same one of so many; each is held for well below a microsecond.
const SHARDS: usize = 64;

/// Tokens of a burst that may be taken before other instances are told: one in so many. So a client that asks little,
/// which is nearly every one, costs Redis nothing.
const UNTOLD_FRACTION: u32 = 32;

/// Clients waiting to be told of, in each shard. One too many waits for its next request.
const QUEUE_MAX: usize = 64;

/// The buckets of one limit.
pub(super) struct Table {
    bucket: Bucket,
    clients_max: usize,
    untold_max: u32,
    hashes: RandomState,
    shards: Vec<Mutex<Shard>>,
    /// The shard that others are told of next.
    next: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    clients: HashMap<u128, Client>,
    /// Clients with enough taken that others should know.
    queue: Vec<u128>,
}

struct Client {
    full_at: Instant,
    /// Tokens that others don't know of.
    untold: u32,
    queued: bool,
}

impl Table {
    /// `shared`: whether there are others to be told.
    pub(super) fn new(bucket: Bucket, clients_max: usize, shared: bool) -> Self {
        Self {
            bucket,
            clients_max: clients_max.div_ceil(SHARDS),
            untold_max: if shared { (bucket.burst / UNTOLD_FRACTION).max(1) } else { u32::MAX },
            hashes: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn bucket(&self) -> Bucket {
        self.bucket
    }

    /// Takes a token of a client.
    pub(super) fn take(&self, client: u128, now: Instant) -> Taken {
        let mut shard = self.shard(client);
        if shard.clients.len() >= self.clients_max && !shard.clients.contains_key(&client) {
            shard.make_room(now);
        }
        let Shard { clients, queue } = &mut *shard;
        let known = clients.entry(client).or_insert(Client { full_at: now, untold: 0, queued: false });
        let (full_at, taken) = pour(known.full_at, now, self.bucket, 1);
        known.full_at = full_at;
        if taken.granted {
            known.untold = known.untold.saturating_add(1);
            if known.untold >= self.untold_max && !known.queued && queue.len() < QUEUE_MAX {
                queue.push(client);
                known.queued = true;
            }
        }
        taken
    }

    /// What taking a token would give, without taking it.
    pub(super) fn look(&self, client: u128, now: Instant) -> Taken {
        let full_at = self.shard(client).clients.get(&client).map_or(now, |known| known.full_at);
        pour(full_at, now, self.bucket, 1).1
    }

    /// Clients that others should know of, at most about `limit`, each with its tokens: never more than the burst,
    /// since no bucket could give them. Each is [`Table::settle`]d or [`Table::put_off`] next. It goes on where it ended
    /// last: with more of them than the limit, all have their turn.
    pub(super) fn untold(&self, limit: usize) -> Vec<(u128, u32)> {
        let mut found = Vec::new();
        for _ in 0..SHARDS {
            if found.len() >= limit {
                break;
            }
            let next = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let mut shard = lock(&self.shards[next]);
            let queue = std::mem::take(&mut shard.queue);
            found.extend(queue.into_iter().filter_map(|client| {
                let known = shard.clients.get(&client)?;
                Some((client, known.untold.min(self.bucket.burst)))
            }));
        }
        found
    }

    /// What the bucket that all share has answered to `told` tokens. It can only make the bucket here emptier: what
    /// others took is gone here, too. Tokens that were not there any more are a debt: the client gets nothing until
    /// they would be, and they are told again.
    pub(super) fn settle(&self, client: u128, told: u32, answer: Taken, now: Instant) {
        let mut shard = self.shard(client);
        let Shard { clients, queue } = &mut *shard;
        let Some(known) = clients.get_mut(&client) else { return };
        if answer.granted {
            known.untold -= told.min(known.untold);
        }
        let room = cost(self.bucket, if answer.granted { known.untold } else { self.bucket.burst });
        known.full_at = known.full_at.max(now + answer.full_after.max(answer.retry_after) + room);
        known.queued = known.untold >= self.untold_max && queue.len() < QUEUE_MAX;
        if known.queued {
            queue.push(client);
        }
    }

    /// Others could not be told: next time. More than a burst is not remembered.
    pub(super) fn put_off(&self, client: u128) {
        let mut shard = self.shard(client);
        let Shard { clients, queue } = &mut *shard;
        let Some(known) = clients.get_mut(&client) else { return };
        known.untold = known.untold.min(self.bucket.burst);
        known.queued = queue.len() < QUEUE_MAX;
        if known.queued {
            queue.push(client);
        }
    }

    /// Clients remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).clients.len()).sum()
    }

    fn shard(&self, client: u128) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.place(client)])
    }

    #[allow(clippy::cast_possible_truncation)] // only the low bits are wanted
    fn place(&self, client: u128) -> usize {
        self.hashes.hash_one(client) as usize % SHARDS
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Forgets whose bucket is full, which loses nothing; if that is not half of them, also who has taken least. It is
    /// work for all of them, but at most once for half as many new ones.
    fn make_room(&mut self, now: Instant) {
        let keep = self.clients.len() / 2;
        self.clients.retain(|_, client| client.full_at > now);
        if self.clients.len() > keep {
            let mut times: Vec<_> = self.clients.values().map(|client| client.full_at).collect();
            let at = (times.len() - keep).min(times.len() - 1);
            let least = *times.select_nth_unstable(at).1;
            self.clients.retain(|_, client| client.full_at > least);
        }
        let Self { clients, queue } = self;
        queue.retain(|client| clients.contains_key(client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BUCKET: Bucket = Bucket { per_s: 10.0, burst: 64 };

    fn granted(table: &Table, client: u128, now: Instant, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(table.take(client, now).granted)).sum()
    }

    #[test]
    fn each_client_has_a_bucket() {
        let (table, now) = (Table::new(BUCKET, 1_000, false), Instant::now());
        assert_eq!(granted(&table, 1, now, 100), 64);
        assert!(!table.look(1, now).granted);
        assert_eq!(granted(&table, 2, now, 10), 10);
        assert_eq!(granted(&table, 1, now + Duration::from_secs(1), 100), 10);
        assert_eq!(table.untold(100), [], "there is nobody to be told");
    }

    #[test]
    fn memory_is_bounded_and_who_asks_most_is_remembered() {
        let (table, now) = (Table::new(BUCKET, 6_400, false), Instant::now());
        assert_eq!(granted(&table, 7, now, 100), 64);
        for client in 1_000..101_000 {
            table.take(client, now);
        }
        assert!(table.len() <= 6_400, "{}", table.len());
        assert!(!table.look(7, now).granted);
    }

    #[test]
    fn what_others_took_is_gone_here() {
        let (table, now) = (Table::new(BUCKET, 1_000, true), Instant::now());
        assert_eq!(granted(&table, 1, now, 1), 1);
        assert_eq!(table.untold(100), [], "a token alone is not worth telling");
        assert_eq!(granted(&table, 1, now, 9), 9);
        assert_eq!(table.untold(100), [(1, 10)]);
        assert_eq!(table.untold(100), [], "once");
        // Others took 40: 50 of 64 are gone, so 14 are left.
        let answer = Taken {
            granted: true,
            remaining: 14,
            retry_after: Duration::ZERO,
            full_after: Duration::from_secs(5),
        };
        table.settle(1, 10, answer, now);
        assert_eq!(granted(&table, 1, now, 100), 14);
    }

    #[test]
    fn all_are_told_of_in_their_turn_however_many_take() {
        let (table, now) = (Table::new(BUCKET, 1_000_000, true), Instant::now());
        let mut told = std::collections::HashSet::new();
        // A shard's queue is full: four of them are told of in a round, and who takes has tokens for 32.
        for _ in 0..20 {
            // Many times as many as are told of in a round, all the time.
            for client in 0..8_000 {
                granted(&table, client, now, 2);
            }
            for (client, tokens) in table.untold(256) {
                told.insert(table.place(client));
                let answer = Taken {
                    granted: true,
                    remaining: BUCKET.burst,
                    retry_after: Duration::ZERO,
                    full_after: Duration::ZERO,
                };
                table.settle(client, tokens, answer, now);
            }
        }
        assert_eq!(told.len(), SHARDS);
    }

    #[test]
    fn what_was_given_too_much_is_a_debt() {
        let (table, now) = (Table::new(BUCKET, 1_000, true), Instant::now());
        assert_eq!(granted(&table, 1, now, 100), 64);
        assert_eq!(table.untold(100), [(1, 64)]);
        // Others have emptied the bucket meanwhile.
        let refused = Taken {
            granted: false,
            remaining: 0,
            retry_after: Duration::from_millis(6_400),
            full_after: Duration::from_millis(6_400),
        };
        table.settle(1, 64, refused, now);
        let later = now + Duration::from_millis(6_400);
        assert_eq!(granted(&table, 1, later, 100), 0, "the debt is paid first");
        assert_eq!(table.untold(100), [(1, 64)], "and told again");
        table.put_off(1);
        assert_eq!(table.untold(100), [(1, 64)], "also when others could not be told");
        assert_eq!(granted(&table, 1, later + Duration::from_secs(1), 100), 10);
    }
}
