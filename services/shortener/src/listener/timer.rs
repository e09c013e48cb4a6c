//! The timer of a connection: one of the runtime's for all the deadlines that follow one another on it.
//! hyper makes a deadline for each head and drops it when the head is there; a timer each would be two locks of the
//! runtime's a request. This one is left as it is and moved on when it fires, if there is a later deadline by then.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant;

/// A clone is the same timer: only for one connection, whose task alone waits for it.
#[derive(Clone)]
pub(super) struct ConnectionTimer(Arc<Mutex<Pin<Box<tokio::time::Sleep>>>>);

impl ConnectionTimer {
    /// `first` is when it fires at the earliest: the time limit that there is.
    pub(super) fn new(first: Duration) -> Self {
        Self(Arc::new(Mutex::new(Box::pin(tokio::time::sleep(first)))))
    }
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: Instant::now() + duration, timer: self.clone() })
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: deadline.into(), timer: self.clone() })
    }
}

struct Deadline {
    at: Instant,
    timer: ConnectionTimer,
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.deadline() > self.at {
            timer.as_mut().reset(self.at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_deadline_is_kept_whatever_came_before() {
        let first = Duration::from_millis(20);
        let timer = ConnectionTimer::new(first);
        // Abandoned, as of a head that came in time: the timer is set for it, and fires.
        let mut abandoned = timer.sleep(first);
        assert!(futures_util::poll!(&mut abandoned).is_pending());
        drop(abandoned);
        for (what, wait_ms) in [("later", 60), ("sooner", 1), ("now", 0), ("later again", 30)] {
            let deadline = std::time::Instant::now() + Duration::from_millis(wait_ms);
            let kept = tokio::time::timeout(Duration::from_secs(30), timer.sleep_until(deadline)).await;
            assert!(kept.is_ok(), "{what}: none waits for another's");
            assert!(std::time::Instant::now() >= deadline, "{what}");
        }
    }
}
