//! Forgets idempotency keys that are old: one instance at a time, a few rows a statement.
//! What a key does is said by [`crate::links`]; clients are told that it is kept for a day.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::keys::now;
use crate::service::App;
use crate::shared::SharedState;

/// How long a key is remembered, seconds: longer than any client retries.
const KEPT_S: i64 = 24 * 60 * 60;

/// How often old keys are looked for. Often enough that it is never many.
const EVERY: Duration = Duration::from_secs(600);

/// Keys forgotten by one statement, so that it holds up no creation.
const FORGOTTEN_AT_ONCE: u32 = 1_000;

/// Statements a turn: ten million keys a day are kept up with.
const STATEMENTS_MAX: u32 = 100;

/// Name of the lease that one instance has.
const LEASE: &str = "forget-claims";

/// Starts the task. It ends with the shortener.
pub(crate) fn forget_regularly(app: &Arc<App>, shared: Arc<dyn SharedState>) {
    let app = Arc::downgrade(app);
    tokio::spawn(async move {
        let holder = holder();
        loop {
            tokio::time::sleep(EVERY).await;
            // Without an answer there may be several at it, which costs a few statements that delete nothing.
            let ours = shared.lease(LEASE, &holder, EVERY).await.unwrap_or(true);
            if !turn(&app, ours).await {
                return;
            }
        }
    });
}

/// False when the shortener is gone.
async fn turn(app: &Weak<App>, ours: bool) -> bool {
    let Some(app) = app.upgrade() else { return false };
    if !ours {
        return true;
    }
    for _ in 0..STATEMENTS_MAX {
        match app.links.forget_claims(now() - KEPT_S, FORGOTTEN_AT_ONCE).await {
            Ok(forgotten) if forgotten == u64::from(FORGOTTEN_AT_ONCE) => {}
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(
                    kind = error.kind(),
                    "old idempotency keys were not forgotten; the next turn will"
                );
                break;
            }
        }
    }
    true
}

/// Tells instances apart. Without randomness all are one, and then several may be at it.
fn holder() -> String {
    let mut id = [0; 8];
    let _ = getrandom::fill(&mut id);
    format!("{:016x}", u64::from_ne_bytes(id))
}
