//! What reaches the store, second by second: as the instances count it, and as PostgreSQL does, which loses its counts when
//! it is killed. Looked at from the side, so that a store that is away is a row like any other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::load::{CONNECTIONS, Load};
use super::parts::{INSTANCES, Parts, STORE_READS_MAX, runtime};

/// How often PostgreSQL is asked what it is doing.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Look-ups of links under way, and those that have been since the server began.
const DOING: &str = "SELECT (SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'active' AND query LIKE '%FROM links WHERE domain%'
                   AND pid <> pg_backend_pid()),
            (SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'links_by_name')";

/// Look-ups of links that an instance has sent to the store.
const READS: (&str, &str) = ("hoplog_link_store_call_seconds_count", "call=\"find\"");

/// One second.
#[derive(Debug)]
pub(super) struct Second {
    pub(super) phase: String,
    /// Visits sent in it, at most, by instance.
    sent: [u64; INSTANCES],
    pub(super) reads: [u64; INSTANCES],
    answers: u64,
    failed: u64,
    /// Look-ups that PostgreSQL counted; none while it is away.
    looked_up: Option<u64>,
    /// The most that it was seen doing at once.
    at_once: u64,
}

/// Looks until it is over.
pub(super) fn watch(parts: &Parts, load: &Load, over: &AtomicBool) -> Vec<Second> {
    let runtime = runtime();
    let mut postgres = None;
    let (mut seconds, mut before_pg) = (Vec::new(), None);
    let mut before = Counts::now(parts, load);
    while !over.load(Ordering::SeqCst) {
        let began = Instant::now();
        let (phase, mut at_once, mut counted) = (load.phase(), 0, None);
        while began.elapsed() < Duration::from_secs(1) {
            let doing = runtime.block_on(doing(&mut postgres, &parts.links));
            if let Some((now, all)) = doing {
                (at_once, counted) = (at_once.max(now), Some(all));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let now = Counts::now(parts, load);
        // Killed, it begins at 0 again.
        let looked_up = counted.map(|all| all.checked_sub(before_pg.unwrap_or(all)).unwrap_or(all));
        before_pg = counted.or(before_pg);
        let each = |of: fn(&Counts, usize) -> u64| std::array::from_fn(|at| of(&now, at) - of(&before, at));
        seconds.push(Second {
            phase,
            // What was sent before the reads were counted, less what was before they were counted last.
            sent: std::array::from_fn(|at| now.sent_after[at] - before.sent_before[at]),
            reads: each(|counts, at| counts.reads[at]),
            answers: now.totals.0 - before.totals.0,
            failed: now.totals.1 - before.totals.1,
            looked_up,
            at_once,
        });
        before = now;
    }
    seconds
}

/// Cumulative counts at one time.
struct Counts {
    sent_before: [u64; INSTANCES],
    reads: [u64; INSTANCES],
    sent_after: [u64; INSTANCES],
    totals: (u64, u64),
}

impl Counts {
    fn now(parts: &Parts, load: &Load) -> Self {
        let sent = || std::array::from_fn(|at| load.sent(at));
        let sent_before = sent();
        let reads = std::array::from_fn(|at| reads(parts, at));
        Self { sent_before, reads, sent_after: sent(), totals: load.totals() }
    }
}

/// Look-ups that an instance has sent to the store so far.
pub(super) fn reads(parts: &Parts, instance: usize) -> u64 {
    parts.metric(instance, READS.0, READS.1)
}

async fn doing(connection: &mut Option<PgConnection>, url: &str) -> Option<(u64, u64)> {
    if connection.is_none() {
        *connection = PgConnection::connect(url).await.ok();
    }
    let asked = sqlx::query_as::<_, (i64, i64)>(DOING).fetch_one(connection.as_mut()?).await;
    if asked.is_err() {
        *connection = None;
    }
    asked.ok().map(|(now, all)| (now.cast_unsigned(), all.cast_unsigned()))
}

/// Prints all of it, and fails where more reached the store than had to.
pub(super) fn assert_no_herd(seconds: &[Second]) {
    println!(
        "{:>4} {:<26} {:>8} {:>7} {:>13} {:>10} {:>8}",
        "s", "phase", "answers", "failed", "reads/s", "PostgreSQL", "at once"
    );
    for (second, row) in seconds.iter().enumerate() {
        let Second { phase, answers, failed, at_once, .. } = row;
        let looked_up = row.looked_up.map_or("away".to_owned(), |count| count.to_string());
        let reads = row.reads.map(|reads| reads.to_string()).join(" + ");
        println!("{second:>4} {phase:<26} {answers:>8} {failed:>7} {reads:>13} {looked_up:>10} {at_once:>8}");
    }
    for row in seconds {
        for instance in 0..INSTANCES {
            // A visit is the reason of one read at most; those under way were sent before.
            let reasons = row.sent[instance] + CONNECTIONS as u64;
            assert!(row.reads[instance] <= reasons, "more reads than visits: {row:?}");
        }
        assert!(row.at_once <= STORE_READS_MAX * INSTANCES as u64, "too many at once: {row:?}");
    }
    let mut most = BTreeMap::<&str, u64>::new();
    for row in seconds {
        let most = most.entry(&row.phase).or_default();
        *most = (*most).max(row.reads.iter().sum());
    }
    println!("most reads in a second, by phase: {most:?}");
}
