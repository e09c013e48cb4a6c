//! When a role is to end: a signal, or the end of standard input where a supervisor holds the other end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Becomes `true` when the process should end. Cheap to clone; every part of a role waits on its own copy.
pub(crate) type Stop = watch::Receiver<bool>;

/// Starts listening for reasons to end.
///
/// # Errors
/// When the signals can't be caught.
pub(crate) fn listen(supervised: bool) -> io::Result<Stop> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let input_ended = async {
            if supervised {
                // A thread, since a blocking read of standard input would hold the runtime's end.
                let (ended, wait) = tokio::sync::oneshot::channel();
                std::thread::spawn(move || {
                    // Nothing is ever written; the read returns when the supervisor is gone.
                    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
                    let _ = ended.send(());
                });
                let _ = wait.await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = input_ended => {}
        }
        // Nobody waiting means that the role ended by itself.
        let _ = stop.send(true);
    });
    Ok(stopped)
}

/// Returns when it is time to end.
pub(crate) async fn stopped(mut stop: Stop) {
    // The sender gone means the runtime is going down, which is an end as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
