//! Tells other instances of changes, and those that could not be told again, in the background, as soon as the shared
//! state answers: for as long as somebody may serve a copy from before. Who makes a change waits for one try.
//! Entries never go back, so what is told twice or too late does no harm.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::{Change, Entry, SharedError, SharedState, Version};
use crate::metrics::Dependencies;

/// Changes that are remembered one by one. With more of them others are told to trust nothing, which is one message.
const UNTOLD_MAX: usize = 4_096;

/// Of a longer value only its version is remembered, and who hears of it reads the store. A link with few rules has
/// less; all that is remembered takes at most 16 MiB and some names.
const VALUE_BYTES_MAX: usize = 4_096;

/// How long the last try may take: a thousand messages to a Redis that answers.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// What others find when they hear of a change.
#[derive(Debug, Clone)]
pub enum News {
    /// The outcome.
    Entry {
        /// Where it is kept.
        key: String,
        /// What is kept, from now on.
        entry: Entry,
    },
    /// Nothing: the outcome is not known, and neither is what was kept before.
    Doubt {
        /// Where that is.
        key: String,
    },
    /// What the store says.
    Change,
}

/// Tells other instances.
pub struct Announcer {
    shared: Arc<dyn SharedState>,
    /// After that nobody serves a copy from before a change, told or not.
    within: Duration,
    metrics: Dependencies,
    on_late: Box<dyn Fn(&Change) + Send + Sync>,
    untold: Mutex<Untold>,
}

#[derive(Default)]
struct Untold {
    changes: HashMap<Change, Telling>,
    /// Whether a task is at it.
    is_retold: bool,
}

#[derive(Clone)]
struct Telling {
    news: News,
    since: Instant,
    /// Changes that this is about.
    count: u64,
}

impl Announcer {
    /// Through `shared`. `within`: how long a copy is served without asking. `on_late` is called with a change of which
    /// others knew a later outcome: ours is not what holds.
    pub fn new(
        shared: Arc<dyn SharedState>,
        within: Duration,
        metrics: Dependencies,
        on_late: impl Fn(&Change) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { shared, within, metrics, on_late: Box::new(on_late), untold: Mutex::default() })
    }

    /// Tells of a change, within a tokio runtime: now, or later if that fails.
    pub async fn tell(self: &Arc<Self>, change: Change, news: News) {
        let telling = Telling { news, since: Instant::now(), count: 1 };
        match self.attempt(&change, &telling).await {
            Ok(()) => self.untold().told(&change, &telling),
            Err(_) => self.remember(change, telling),
        }
    }

    /// A last try for all that is left, bounded. What nobody was told of then is given up.
    pub async fn close(&self) {
        // What it did not get to is left.
        let _ = timeout(CLOSE_MAX, self.retell()).await;
        let left = std::mem::take(&mut self.untold().changes);
        let count: u64 = left.values().map(|telling| telling.count).sum();
        if count > 0 {
            self.metrics.unannounced.inc_by(count);
            tracing::warn!(
                count,
                "changes were not announced; other instances see them when their copies age"
            );
        }
    }

    fn remember(self: &Arc<Self>, change: Change, telling: Telling) {
        let mut untold = self.untold();
        untold.insert(change, telling);
        if !std::mem::replace(&mut untold.is_retold, true) {
            drop(untold);
            tokio::spawn(Arc::clone(self).keep_telling());
        }
    }

    /// Until nothing is left.
    async fn keep_telling(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        loop {
            sleep(backoff.next()).await;
            self.retell().await;
            let mut untold = self.untold();
            if untold.changes.is_empty() {
                untold.is_retold = false;
                return;
            }
        }
    }

    /// Tries each once. One that fails says nothing of the next, which may be another node's; while none answers, the
    /// breaker lets few through.
    async fn retell(&self) {
        let changes: Vec<Change> = self.untold().changes.keys().cloned().collect();
        for change in changes {
            let Some(telling) = self.untold().changes.get(&change).cloned() else { continue };
            if telling.since.elapsed() >= self.within {
                self.metrics.unannounced.inc_by(telling.count);
            } else if self.attempt(&change, &telling).await.is_err() {
                continue;
            }
            self.untold().told(&change, &telling);
        }
    }

    async fn attempt(&self, change: &Change, telling: &Telling) -> Result<(), SharedError> {
        match &telling.news {
            News::Entry { key, entry } => {
                let keep = entry.keep.saturating_sub(telling.since.elapsed());
                let is_kept = self.shared.put(key, Entry { keep, ..entry.clone() }, Some(change)).await?;
                if !is_kept {
                    (self.on_late)(change);
                }
                Ok(())
            }
            News::Doubt { key } => match self.shared.get(key).await? {
                // The same version without a value, which is none: later ones replace it.
                Some(copy) => {
                    let emptied = Entry { value: Bytes::new(), ..copy };
                    self.shared.put(key, emptied, Some(change)).await.map(drop)
                }
                None => self.shared.announce(change).await,
            },
            News::Change => self.shared.announce(change).await,
        }
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Untold {
    fn insert(&mut self, change: Change, mut telling: Telling) {
        if let News::Entry { entry, .. } = &mut telling.news
            && entry.value.len() > VALUE_BYTES_MAX
        {
            entry.value = Bytes::new();
        }
        let is_full = self.changes.len() >= UNTOLD_MAX && !self.changes.contains_key(&change);
        let (change, telling) = if is_full || self.changes.contains_key(&Change::Unknown) {
            let count = telling.count + self.changes.drain().map(|(_, telling)| telling.count).sum::<u64>();
            (Change::Unknown, Telling { news: News::Change, count, ..telling })
        } else {
            (change, telling)
        };
        match self.changes.get_mut(&change) {
            // Of two outcomes at once the later one may come first.
            Some(known) => {
                known.count += telling.count;
                known.since = known.since.max(telling.since);
                if known.news.rank() <= telling.news.rank() {
                    known.news = telling.news;
                }
            }
            None => drop(self.changes.insert(change, telling)),
        }
    }

    /// Nothing is left to be told of a change, unless something has come since, or is later.
    fn told(&mut self, change: &Change, told: &Telling) {
        let is_told = |left: &Telling| left.since <= told.since && left.news.rank() <= told.news.rank();
        if self.changes.get(change).is_some_and(is_told) {
            self.changes.remove(change);
        }
    }
}

impl News {
    /// Which of two says what the other does, and more. Who doubts trusts no outcome.
    fn rank(&self) -> Version {
        match self {
            Self::Entry { entry, .. } => entry.version,
            Self::Doubt { .. } => Version { id: i64::MAX, revision: i64::MAX },
            Self::Change => Version::NOTHING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(code: usize) -> Change {
        Change::Link { domain: String::new(), code: code.to_string() }
    }

    fn telling(revision: i64, value: &'static [u8]) -> Telling {
        let version = Version { id: 1, revision };
        let entry = Entry { version, value: Bytes::from_static(value), keep: Duration::from_secs(60) };
        let news = News::Entry { key: "key".to_owned(), entry };
        Telling { news, since: Instant::now(), count: 1 }
    }

    fn revision(untold: &Untold, code: usize) -> i64 {
        untold.changes[&change(code)].news.rank().revision
    }

    #[test]
    fn the_latest_outcome_is_remembered_until_it_is_told() {
        let mut untold = Untold::default();
        let (second, third) = (telling(2, b"second"), telling(3, b"third"));
        untold.insert(change(1), third.clone());
        untold.insert(change(1), second.clone());
        assert_eq!((untold.changes.len(), revision(&untold, 1)), (1, 3));
        untold.told(&change(1), &Telling { since: Instant::now(), ..second });
        assert_eq!(revision(&untold, 1), 3, "an earlier one that was told is not it");
        let doubt = Telling { news: News::Doubt { key: "key".to_owned() }, ..telling(0, b"") };
        untold.insert(change(1), doubt.clone());
        untold.told(&change(1), &third);
        assert_eq!(untold.changes[&change(1)].count, 3, "a doubt since then is left");
        untold.told(&change(1), &doubt);
        assert!(untold.changes.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_forgotten() {
        let mut untold = Untold::default();
        untold.insert(change(0), telling(1, &[0; VALUE_BYTES_MAX + 1]));
        let News::Entry { entry, .. } = &untold.changes[&change(0)].news else { panic!("an entry") };
        assert!(entry.value.is_empty());
        for code in 1..UNTOLD_MAX {
            untold.insert(change(code), telling(1, b"first"));
        }
        untold.insert(change(7), telling(2, b"second"));
        assert_eq!((untold.changes.len(), revision(&untold, 7)), (UNTOLD_MAX, 2));
        for code in 0..3 {
            untold.insert(change(UNTOLD_MAX + code), telling(1, b"first"));
        }
        let all: Vec<_> = untold.changes.iter().map(|(change, telling)| (change, telling.count)).collect();
        assert_eq!(all, [(&Change::Unknown, UNTOLD_MAX as u64 + 4)]);
    }
}
