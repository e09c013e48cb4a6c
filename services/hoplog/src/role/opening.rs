//! Opens the event log with patience: a log that is away, or that somebody still has to mend, is tried for ever, and
//! meanwhile readiness, a metric and the process's own log say so. Decides nothing about what happens without a log.

use std::time::Duration;

use event_log::{ConsumeError, OpenError};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// The first pause: a broker that is just starting is there in seconds.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause: short enough that a repaired fault is noticed while somebody still looks.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How opening the log goes. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    trouble: watch::Sender<Option<String>>,
    open: Gauge,
    pause_min: Duration,
}

/// Why the log could not be opened this time.
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

impl Opening {
    /// Not opened yet.
    pub(crate) fn new() -> Self {
        let trouble = watch::Sender::new(Some("the event log is not open yet".to_owned()));
        Self { trouble, open: Gauge::default(), pause_min: PAUSE_MIN }
    }

    /// Adds its metric to a registry, whose prefix is the caller's.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "1 if the event log could be opened; 0: it is away, or refuses us";
        registry.register("event_log_open", help, self.open.clone());
    }

    /// Why the log is not open; `None`: it is.
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
                        tracing::info!("the event log is open");
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
        let opening = Opening { pause_min: Duration::from_millis(1), ..Opening::new() };
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
