//! What is done every now and then, by one instance at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::keys::now;
use crate::service::App;
use crate::shared::SharedState;

/// How long an idempotency key is remembered, seconds: longer than any client retries, and what clients are told. What a key
/// does is said by [`crate::links`].
const CLAIMS_KEPT_S: i64 = 24 * 60 * 60;

/// How often old keys are looked for. Often enough that it is never many.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Keys forgotten by one statement, so that it holds up no creation.
const FORGOTTEN_AT_ONCE: u32 = 1_000;

/// Statements a turn: ten million keys a day are kept up with.
const STATEMENTS_MAX: u32 = 100;

/// How often texts are indexed: the rarer, the more of them share a page of the index, and the more of them a search has to
/// read one by one.
const INDEX_EVERY: Duration = Duration::from_secs(5);

/// So many pages of them are half of what may wait before a creation has to index (migration 0004): the next turn follows at
/// once.
const PAGES_MANY: u64 = 512;

/// Starts all of it. It ends with the shortener.
pub(crate) fn start(app: &Arc<App>, shared: &Arc<dyn SharedState>) {
    regularly(app, shared, "forget-claims", FORGET_EVERY, forget_claims);
    regularly(app, shared, "index-texts", INDEX_EVERY, index_texts);
}

/// Does it every so often, when this instance has the lease of that name.
fn regularly<F>(
    app: &Arc<App>,
    shared: &Arc<dyn SharedState>,
    lease: &'static str,
    every: Duration,
    turn: impl Fn(Arc<App>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let (app, shared) = (Arc::downgrade(app), Arc::clone(shared));
    tokio::spawn(async move {
        let holder = holder();
        loop {
            tokio::time::sleep(every).await;
            // Without an answer there may be several at it, which costs a few statements that find nothing to do.
            let ours = shared.lease(lease, &holder, every).await.unwrap_or(true);
            let Some(app) = app.upgrade() else { return };
            if ours {
                turn(app).await;
            }
        }
    });
}

async fn forget_claims(app: Arc<App>) {
    for _ in 0..STATEMENTS_MAX {
        match app.links.forget_claims(now() - CLAIMS_KEPT_S, FORGOTTEN_AT_ONCE).await {
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
}

async fn index_texts(app: Arc<App>) {
    loop {
        match app.links.index_texts().await {
            Ok(pages) if pages >= PAGES_MANY => {}
            Ok(_) => break,
            Err(error) => {
                // Searches find them all the same, and there is a turn every few seconds.
                tracing::debug!(kind = error.kind(), "new texts were not indexed; the next turn will");
                break;
            }
        }
    }
}

/// Tells instances apart. Without randomness all are one, and then several may be at it.
fn holder() -> String {
    let mut id = [0; 8];
    let _ = getrandom::fill(&mut id);
    format!("{:016x}", u64::from_ne_bytes(id))
}
