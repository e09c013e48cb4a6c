//! `/rest/health`: whether the link store answers. However many ask, it is asked once in a while: nobody needs a key here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::Mutex;

use super::{Caller, SHLINK_VERSION, json};
use crate::service::App;
use crate::store::StoreError;

/// How old an answer may be: less than any monitor's pause between two questions.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What the store has answered last, and when.
#[derive(Default)]
pub(crate) struct Health(Mutex<Option<(Instant, Answer)>>);

/// Shared by all who asked.
type Answer = Result<(), Arc<StoreError>>;

impl Health {
    /// The last answer, or `ask`'s when that one is too old.
    async fn answer(&self, ask: impl Future<Output = Result<(), StoreError>>) -> Answer {
        // Held while asking: who comes meanwhile has that answer.
        let mut known = self.0.lock().await;
        if let Some((at, answer)) = &*known
            && at.elapsed() < AGE_MAX
        {
            return answer.clone();
        }
        let answer = ask.await.map_err(Arc::new);
        *known = Some((Instant::now(), answer.clone()));
        answer
    }
}

pub(super) async fn show(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let (status, word) = match app.health.answer(app.links.ping(&caller.hop)).await {
        Ok(()) => (StatusCode::OK, "pass"),
        Err(error) => {
            caller.hop.fail(error.kind(), &*error);
            (StatusCode::SERVICE_UNAVAILABLE, "fail")
        }
    };
    let body = serde_json::json!({
        "status": word,
        "version": SHLINK_VERSION,
        "hoplogVersion": app.version,
        "links": { "about": "/", "openapi": "/rest/v3/openapi.json" },
    });
    let mut response = json::answer(status, &body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/health+json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn all_who_ask_at_once_have_one_answer() {
        let (health, asked) = (Health::default(), AtomicU32::new(0));
        let ask = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(StoreError::BreakerOpen)
        };
        let answers = join_all((0..100).map(|_| health.answer(ask()))).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let (at, _) = health.0.lock().await.take().unwrap();
        *health.0.lock().await = Some((at.checked_sub(AGE_MAX).unwrap(), Ok(())));
        assert!(health.answer(ask()).await.is_err(), "it was too old");
    }
}
