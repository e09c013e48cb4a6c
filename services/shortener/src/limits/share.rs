//! Tells other instances what clients took here, and learns what they took there: in rounds, in the background, and
//! only of clients that take much. Nothing on the request path waits for it, and while it fails nothing is lost but
//! the sharing.

use std::sync::Weak;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tokio::time::MissedTickBehavior;

use super::table::Table;
use super::{LIMITER_KEYS, LIMITER_UNKNOWN, LIMITER_VISITS, Limits};
use crate::shared::SharedError;

/// Time between rounds: what a client may take beyond its bucket on every further instance before that one knows.
/// Short beside the seconds in which a bucket fills, long beside a millisecond that Redis takes to answer.
pub(super) const ROUND: Duration = Duration::from_millis(200);

/// Clients told of in a round, of each limit: with ten rounds a second at most so many thousand calls. Those left over
/// wait for the next round.
const CLIENTS_MAX: usize = 256;

/// Calls under way at once. They share one connection, so this hides its latency.
const CALLS_MAX: usize = 16;

/// Rounds until the limits are gone.
pub(super) async fn run(limits: Weak<Limits>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(limits) = limits.upgrade() else { return };
        for (limiter, table) in [
            (LIMITER_VISITS, &limits.visits),
            (LIMITER_UNKNOWN, &limits.unknown),
            (LIMITER_KEYS, &limits.keys),
        ] {
            if let Some(table) = table {
                round(&limits, limiter, table).await;
            }
        }
    }
}

async fn round(limits: &Limits, limiter: &'static str, table: &Table) {
    let told = table.untold(CLIENTS_MAX);
    let answers = stream::iter(told)
        .map(async |(client, tokens)| {
            let name = limits.name(limiter, client);
            (client, tokens, limits.shared.take(&name, table.bucket(), tokens).await)
        })
        .buffer_unordered(CALLS_MAX);
    let mut answers = std::pin::pin!(answers);
    while let Some((client, tokens, answer)) = answers.next().await {
        match answer {
            Ok(taken) => table.settle(client, tokens, taken, Instant::now()),
            // The next round tries again; who knows why it failed has said so.
            Err(SharedError::Unavailable(_) | SharedError::BreakerOpen | SharedError::Timeout { .. }) => {
                table.put_off(client);
            }
        }
    }
}
