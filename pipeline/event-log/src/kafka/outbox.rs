//! A producer by way of this machine's disk: what is appended is in a spool, and a task hands it on to Kafka. Everything
//! goes that way while it is switched on, also when Kafka is well: a call that was already waiting for Kafka could not be
//! moved to the disk without the risk that it arrives twice. How it is handed on is `relay.rs`'.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::Kafka;
use super::relay::Relay;
use crate::spool::{Spool, SpoolProducer};
use crate::{AppendError, EventLogMetrics, Message, Producer};

/// Beside the spool: the name under which Kafka knows it.
const NAME_FILE: &str = "outbox.id";
/// Bytes of a name: a UUID in hexadecimal digits.
const NAME_BYTES: usize = 32;

/// Appends to the spool; its relay runs as long as it lives.
pub(super) struct Outbox {
    spool: SpoolProducer,
    message_bytes_max: usize,
    close_max: Duration,
    metrics: EventLogMetrics,
    ending: watch::Sender<bool>,
    relay: Mutex<Option<JoinHandle<()>>>,
}

impl Outbox {
    /// Starts both; opens nothing yet.
    pub(super) fn start(kafka: Kafka, metrics: EventLogMetrics) -> Self {
        let config = kafka.config.clone();
        let spool = Spool::new(config.outbox.spool(&config.topic));
        let (ending, is_ending) = watch::channel(false);
        let producer = spool.producer(metrics.clone());
        let relay = Relay::new(kafka, spool, metrics.clone(), is_ending);
        Self {
            spool: producer,
            message_bytes_max: config.message_bytes_max,
            close_max: Duration::from_millis(config.producer.close_ms_max),
            metrics,
            ending,
            relay: Mutex::new(Some(tokio::spawn(relay.run()))),
        }
    }
}

#[async_trait]
impl Producer for Outbox {
    async fn append(&self, messages: Vec<Message>) -> Result<(), AppendError> {
        // Here, and not when it is on the disk and nobody can take it back.
        let (bytes, bytes_max) =
            (messages.iter().map(Message::payload_bytes).max().unwrap_or(0), self.message_bytes_max);
        if bytes > bytes_max {
            let error = AppendError::TooLarge { bytes, bytes_max };
            self.metrics.failed(&error);
            return Err(error);
        }
        self.spool.append(messages).await
    }

    fn takes_packed(&self) -> bool {
        self.spool.takes_packed()
    }

    /// Takes no more, and lets the relay hand on what there is, up to `close_ms_max`. The rest stays on the disk for the
    /// next start.
    async fn close(&self) {
        self.spool.close().await;
        let _ = self.ending.send(true);
        let Some(mut relay) = self.relay.lock().await.take() else { return };
        if timeout(self.close_max, &mut relay).await.is_err() {
            relay.abort();
            tracing::warn!(
                "the outbox holds events that Kafka has not taken; they are sent after the next start"
            );
        }
    }
}

/// Without a close: as if the process were killed.
impl Drop for Outbox {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.get_mut() {
            relay.abort();
        }
    }
}

/// The name of the spool in this directory; made when it is first asked for. Blocks.
///
/// It can't be the host's name and path: two containers may have both in common, and would fence each other off.
pub(super) fn name(directory: &Path) -> io::Result<String> {
    let path = directory.join(NAME_FILE);
    let known = match fs::read_to_string(&path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let is_name = |text: &str| text.len() == NAME_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name(known.trim_end()) {
        return Ok(known.trim_end().to_owned());
    }
    if !known.is_empty() {
        let reason = format!("{} holds no name of an outbox", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let name = uuid::Uuid::new_v4().simple().to_string();
    // Whole or not at all, whenever the process is killed.
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, &name)?;
    fs::File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, &path)?;
    fs::File::open(directory)?.sync_all()?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_name() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = name(one.path()).unwrap();
        assert_eq!(name(one.path()).unwrap(), first);
        assert_ne!(name(other.path()).unwrap(), first);
        fs::write(one.path().join(NAME_FILE), "something else").unwrap();
        assert_eq!(name(one.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
