//! Opens a part with patience, the event log or the link store: one that is away, or that somebody still has to mend, is
//! tried for ever, and meanwhile readiness, a metric and the process's own log say so. Decides nothing about what happens
//! without it.

use std::time::Duration;

use event_log::{ConsumeError, OpenError};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use shortener::store::StoreError;
use tokio::sync::watch;

/// The first pause: a broker that is just starting is there in seconds.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause: short enough that a repaired fault is noticed while somebody still looks.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How opening a part goes. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    part: &'static str,
    metric: &'static str,
    trouble: watch::Sender<Option<String>>,
    open: Gauge,
    pause_min: Duration,
}

/// Why a part could not be opened this time.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// Whether a person has to mend it.
    for_a_person: bool,
    error: anyhow::Error,
}

impl From<OpenError> for Obstacle {
    fn from(error: OpenError) -> Self {
        Self { for_a_person: matches!(error, OpenError::Refused(_)), error: error.into() }
    }
}

impl From<ConsumeError> for Obstacle {
    fn from(error: ConsumeError) -> Self {
        Self { for_a_person: matches!(error, ConsumeError::Broken(_)), error: error.into() }
    }
}

impl From<StoreError> for Obstacle {
    fn from(error: StoreError) -> Self {
        let for_a_person =
            matches!(error, StoreError::Corrupt(_) | StoreError::Schema { .. } | StoreError::Migrate(_));
        Self { for_a_person, error: error.into() }
    }
}

impl From<shortener::OpenError> for Obstacle {
    fn from(error: shortener::OpenError) -> Self {
        match error {
            shortener::OpenError::Store(error) => error.into(),
            error => Self { for_a_person: true, error: error.into() },
        }
    }
}

impl Opening {
    /// The event log, not opened yet.
    pub(crate) fn event_log() -> Self {
        Self::of("the event log", "event_log_open")
    }

    /// The link store, not opened yet.
    pub(crate) fn link_store() -> Self {
        Self::of("the link store", "link_store_open")
    }

    fn of(part: &'static str, metric: &'static str) -> Self {
        let trouble = watch::Sender::new(Some(format!("{part} is not open yet")));
        Self { part, metric, trouble, open: Gauge::default(), pause_min: PAUSE_MIN }
    }

    /// Adds its metric to a registry, whose prefix is the caller's.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = format!("1 if {} could be opened; 0: it is away, or refuses us", self.part);
        registry.register(self.metric, help, self.open.clone());
    }

    /// Why the part is not open; `None`: it is.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Tries until it works. What only a person can mend is said each time, what heals by itself when it changes.
    pub(crate) async fn until_open<T, F>(&self, mut attempt: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, Obstacle>>,
    {
        let mut pause = self.pause_min;
        loop {
            let obstacle = match attempt().await {
                Ok(opened) => {
                    self.open.set(1);
                    self.trouble.send_replace(None);
                    if pause > self.pause_min {
                        tracing::info!("{} is open", self.part);
                    }
                    return opened;
                }
                Err(obstacle) => obstacle,
            };
            let error = format!("{:#}", obstacle.error);
            if obstacle.for_a_person {
                tracing::error!("{error}; a person has to mend this, it is tried again until then");
            } else if self.trouble.borrow().as_deref() != Some(&error) {
                tracing::warn!("{error}; trying again");
            }
            self.trouble.send_replace(Some(error));
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_is_away_or_refuses_is_tried_until_it_is_there() {
        let opening = Opening { pause_min: Duration::from_millis(1), ..Opening::event_log() };
        assert!(opening.trouble().is_some());
        let mut attempts = 0;
        let attempt = || {
            attempts += 1;
            let trouble = opening.trouble().unwrap_or_default();
            let outcome = match attempts {
                1 => Err(OpenError::Unavailable("nobody listens".into()).into()),
                2 => {
                    assert!(trouble.contains("nobody listens"), "{trouble}");
                    Err(OpenError::Refused("no right to".into()).into())
                }
                3 => {
                    assert!(trouble.contains("no right to"), "{trouble}");
                    Err(ConsumeError::Broken("too old".into()).into())
                }
                attempts => Ok(attempts),
            };
            std::future::ready(outcome)
        };
        let opened = opening.until_open(attempt).await;
        assert_eq!((opened, opening.trouble(), opening.open.get()), (4, None, 1));
    }
}
