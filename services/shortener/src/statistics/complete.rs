//! Up to when counts are final.
//!
//! The promise: no visit that this process answered before `completeThrough` changes a count that was read after it was
//! said. It rests on numbers, not on clocks of others: the emitter numbers every event, ClickHouse says which numbers of
//! this boot arrived in ranges that are stored whole (the ledger has them), and what the emitter dropped it has counted.
//! A moment is complete once every number given out by then has arrived or is lost, less `hold_back_s` for requests that
//! were still under way: their events bear the time of their first byte. An idle process is complete up to now.
//!
//! Other instances that were heard of within `silence_s` are taken to be complete up to the newest event kept of each, by
//! partition. That is as far as ClickHouse knows. Not promised: what an instance has that was silent for longer (cut off
//! from the log, with events in memory or in its outbox), dead letters that are replayed, and events whose append is in
//! doubt; the last hold the time still until the next start.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use emitter::Emitter;

use super::reader::{Reader, StatisticsError};
use super::sql::Sql;
use crate::keys::now;
use crate::link::UnixSeconds;

/// Moments that are remembered, one a second: as long as the pipeline may be behind until the time stands still.
const MOMENTS_MAX: usize = 900;

/// How long a time that was found out is given again: a question more a second, whoever asks.
const FRESH: Duration = Duration::from_secs(1);

/// Runs of numbers looked at; one a range and partition, so some minutes of a busy pipeline.
const RUNS_MAX: i64 = 50_000;

/// What had been numbered at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    at: UnixSeconds,
    dropped: u64,
    issued: u64,
}

#[derive(Debug, Default)]
struct State {
    moments: VecDeque<Moment>,
    /// The last one that is complete: everything before it is settled.
    settled: Option<Moment>,
    said: Option<(Instant, Option<UnixSeconds>)>,
}

pub(super) struct Completeness {
    emitter: OnceLock<Emitter>,
    state: Mutex<State>,
    hold_back_s: u32,
    silence_s: u32,
}

impl Completeness {
    pub(super) fn new(hold_back_s: u32, silence_s: u32) -> Self {
        Self { emitter: OnceLock::new(), state: Mutex::default(), hold_back_s, silence_s }
    }

    /// From now on the events of this emitter count. Later calls change nothing.
    pub(super) fn follow(&self, emitter: Emitter) {
        let _ = self.emitter.set(emitter);
    }

    /// Notes the moment; to be called every second.
    pub(super) fn tick(&self) {
        let Some(emitter) = self.emitter.get() else { return };
        let at = now();
        // In this order: an event has its number before it can be dropped.
        let dropped = emitter.metrics().dropped_for_good();
        let moment = Moment { at, dropped, issued: emitter.issued() };
        let mut state = self.state();
        if state.moments.len() == MOMENTS_MAX {
            // Every other one goes, so that a pipeline that is far behind is still followed.
            let mut keep = false;
            state.moments.retain(|_| {
                keep = !keep;
                keep
            });
        }
        state.moments.push_back(moment);
    }

    /// Up to when counts are final that are read after this call. None where that is not known.
    pub(super) async fn through(&self, reader: &Reader) -> Option<UnixSeconds> {
        let emitter = self.emitter.get()?;
        let settled = {
            let state = self.state();
            if let Some((at, said)) = state.said
                && at.elapsed() < FRESH
            {
                return said;
            }
            state.settled
        };
        let found = self.look(reader, emitter.boot_id(), settled).await;
        let mut state = self.state();
        let Ok((runs, others)) = found else { return state.said.and_then(|(_, said)| said) };
        let base = state.settled.or(settled);
        let newest = state.moments.iter().rev().find(|moment| is_settled(&runs, base, **moment)).copied();
        if let Some(newest) = newest {
            state.moments.retain(|moment| moment.at > newest.at);
            state.settled = Some(newest);
        }
        let own = state.settled.map(|moment| moment.at);
        let through =
            own.map(|own| others.map_or(own, |others| own.min(others)) - i64::from(self.hold_back_s));
        // Never back: what was said stays true.
        let said = through.max(state.said.and_then(|(_, said)| said));
        state.said = Some((Instant::now(), said));
        said
    }

    /// Runs of this boot's numbers that are stored, and the newest that is known of all others.
    async fn look(
        &self,
        reader: &Reader,
        boot_id: &str,
        settled: Option<Moment>,
    ) -> Result<(Vec<(u64, u64)>, Option<UnixSeconds>), StatisticsError> {
        let since = settled.map_or(0, |moment| moment.at - 3_600);
        let mut sql = Sql::default();
        sql.push("SELECT first_seq, last_seq FROM producer_sequences WHERE boot_id = ").text(boot_id);
        sql.push(" AND last_seq > ").number(settled.map_or(0, |moment| moment.issued.cast_signed()));
        sql.push(
            " AND (log_partition, range_offset) IN (SELECT log_partition, first_offset FROM ingest_ledger \
             WHERE collected_at >= toDateTime(",
        );
        sql.number(since).push(")) ORDER BY first_seq LIMIT ").number(RUNS_MAX);
        let runs = reader.ask_now::<(u64, u64)>(&sql).await?;

        let mut sql = Sql::default();
        sql.push(
            "SELECT toInt64(min(seen)) FROM (SELECT boot_id, max(toUnixTimestamp(ts)) AS seen FROM requests WHERE ts > \
             now() - ",
        );
        sql.number(i64::from(self.silence_s)).push(" AND boot_id != ").text(boot_id);
        sql.push(
            " AND (log_partition, collected_at) IN (SELECT log_partition, collected_at FROM ingest_ledger) \
             GROUP BY boot_id, log_partition) \
             WHERE boot_id NOT IN (SELECT boot_id FROM producer_boots) HAVING count() > 0",
        );
        let others = reader.ask_now::<i64>(&sql).await?;
        Ok((runs, others.first().copied()))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether every number given out between two moments has arrived or is lost.
fn is_settled(runs: &[(u64, u64)], base: Option<Moment>, moment: Moment) -> bool {
    let base = base.unwrap_or(Moment { at: 0, dropped: 0, issued: 0 });
    let mut arrived = 0;
    let mut reached = base.issued;
    for &(first, last) in runs {
        // A number that arrived twice counts once.
        let (first, last) = (first.max(reached + 1), last.min(moment.issued));
        if first <= last {
            arrived += last - first + 1;
            reached = last;
        }
    }
    arrived + moment.dropped.saturating_sub(base.dropped) >= moment.issued.saturating_sub(base.issued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_settled_when_each_number_is_accounted_for() {
        let moment = |issued, dropped| Moment { at: 9, dropped, issued };
        for (runs, base, at, settled) in [
            (vec![], None, moment(0, 0), true),
            (vec![], None, moment(1, 0), false),
            (vec![(1, 5)], None, moment(5, 0), true),
            (vec![(1, 5)], None, moment(6, 0), false),
            (vec![(1, 5)], None, moment(6, 1), true),
            // The second half came first, by another partition.
            (vec![(4, 9)], None, moment(5, 0), false),
            (vec![(1, 3), (4, 9)], None, moment(5, 0), true),
            // Twice is once.
            (vec![(1, 3), (2, 3)], None, moment(5, 0), false),
            // What was settled before is not looked at again.
            (vec![(3, 8)], Some(moment(4, 2)), moment(8, 2), true),
            (vec![(6, 8)], Some(moment(4, 2)), moment(8, 2), false),
            (vec![(6, 8)], Some(moment(4, 2)), moment(8, 3), true),
        ] {
            assert_eq!(is_settled(&runs, base, at), settled, "{runs:?} {base:?} {at:?}");
        }
    }
}
