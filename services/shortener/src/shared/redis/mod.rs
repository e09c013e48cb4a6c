//! Redis, or a Redis Cluster, as what instances share: entries that never go back, messages, buckets, leases.
//! Each call has a deadline and fails at once without a connection; nothing is repeated, and nothing waits for Redis.

mod connection;
mod message;
mod scripts;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{FromRedisValue, RedisResult, cmd};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;

use self::connection::{Connection, Connector};
use self::message::Message;
use self::scripts::Lua;
use self::subscription::Subscription;
use super::{Bucket, Change, Entry, SharedError, SharedState, Taken, Version};
use crate::config::RedisConfig;

/// What an entry begins with, for ever: instances of two versions must be able to tell which of theirs is later.
const ENTRY_MARK: u8 = 1;

/// Bytes before the value of an entry: the mark, the id and the revision.
const HEAD_BYTES: usize = 17;

/// Longest entry kept and looked at. A link with twenty rules, each with a target of 2,048 bytes, has less.
const ENTRY_BYTES_MAX: usize = 131_072;

/// No bucket fills more slowly than a token in twelve days: times must stay numbers that Lua counts exactly.
const PER_S_MIN: f64 = 1e-6;

#[derive(Debug, thiserror::Error)]
#[error("there is no connection to Redis")]
struct NotConnected;

/// State shared through Redis. Its tasks end when it is dropped.
pub struct RedisState {
    connector: Arc<Connector>,
    subscription: Arc<Subscription>,
    prefix: String,
    channel: String,
    sender: Arc<str>,
    call_ms: u64,
    _tasks: JoinSet<()>,
}

impl RedisState {
    /// Connects in the background, within a tokio runtime.
    pub fn open(config: &RedisConfig) -> Self {
        let channel = format!("{}changes", config.prefix);
        let sender: Arc<str> = sender().into();
        let moved = Arc::new(Notify::new());
        let connector = Arc::new(Connector::new(config, Arc::clone(&moved)));
        let subscription = Arc::new(Subscription::new(config, channel.clone(), Arc::clone(&sender), moved));
        let mut tasks = JoinSet::new();
        let (connecting, subscribing) = (Arc::clone(&connector), Arc::clone(&subscription));
        tasks.spawn(async move { connecting.keep().await });
        tasks.spawn(async move { subscribing.keep().await });
        Self {
            connector,
            subscription,
            prefix: config.prefix.clone(),
            channel,
            sender,
            call_ms: config.call_ms_max,
            _tasks: tasks,
        }
    }

    async fn within_deadline<T>(
        &self,
        call: impl AsyncFnOnce(Connection) -> RedisResult<T>,
    ) -> Result<T, SharedError> {
        let Some(connection) = self.connector.current() else {
            return Err(SharedError::Unavailable(Box::new(NotConnected)));
        };
        match tokio::time::timeout(Duration::from_millis(self.call_ms), call(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.connector.failed(&error);
                Err(SharedError::Unavailable(Box::new(error)))
            }
            Err(_) => Err(SharedError::Timeout { ms: self.call_ms }),
        }
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Lua,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, SharedError> {
        self.within_deadline(async |mut connection| script.run(&mut connection, key, arguments).await).await
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }
}

#[async_trait]
impl SharedState for RedisState {
    fn kind(&self) -> &'static str {
        "redis"
    }

    async fn ping(&self) -> Result<(), SharedError> {
        // A key, and not PING, which a cluster asks all nodes.
        let mut command = cmd("EXISTS");
        command.arg(self.key("ping", ""));
        self.within_deadline(async |mut connection| command.query_async::<i64>(&mut connection).await)
            .await?;
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, SharedError> {
        let bytes_max = ENTRY_BYTES_MAX.to_string();
        let arguments: [&[u8]; 1] = [bytes_max.as_bytes()];
        let found: Option<(Vec<u8>, i64)> =
            self.run(&scripts::GET, &self.key("entry", key), &arguments).await?;
        Ok(found.and_then(|(bytes, left_ms)| parse_entry(bytes, left_ms)))
    }

    async fn put(&self, key: &str, entry: Entry, change: Option<&Change>) -> Result<bool, SharedError> {
        let keep_ms = entry.keep.as_millis().max(1).to_string();
        let bytes = entry_bytes(&entry);
        let message = change.map(|change| Message::new(&self.sender, change).to_bytes());
        let channel = if message.is_some() { self.channel.as_bytes() } else { b"" };
        let message = message.unwrap_or_default();
        let arguments: [&[u8]; 4] = [&bytes, keep_ms.as_bytes(), channel, &message];
        let kept: i64 = self.run(&scripts::PUT, &self.key("entry", key), &arguments).await?;
        Ok(kept == 1)
    }

    async fn announce(&self, change: &Change) -> Result<(), SharedError> {
        let mut command = cmd("PUBLISH");
        command.arg(&self.channel).arg(Message::new(&self.sender, change).to_bytes());
        self.within_deadline(async |mut connection| command.query_async::<i64>(&mut connection).await)
            .await?;
        Ok(())
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.subscription.changes()
    }

    async fn take(&self, name: &str, bucket: Bucket, tokens: u32) -> Result<Taken, SharedError> {
        let each_us = (1e6 / bucket.per_s.max(PER_S_MIN)).to_string();
        let (burst, tokens) = (bucket.burst.to_string(), tokens.to_string());
        let arguments = [each_us.as_bytes(), burst.as_bytes(), tokens.as_bytes()];
        let (granted, remaining, retry_us, full_us): (i64, i64, i64, i64) =
            self.run(&scripts::TAKE, &self.key("bucket", name), &arguments).await?;
        let after = |us: i64| Duration::from_micros(us.try_into().unwrap_or(0));
        Ok(Taken {
            granted: granted == 1,
            remaining: u32::try_from(remaining).unwrap_or(0),
            retry_after: after(retry_us),
            full_after: after(full_us),
        })
    }

    async fn lease(&self, name: &str, holder: &str, keep: Duration) -> Result<bool, SharedError> {
        let keep_ms = keep.as_millis().max(1).to_string();
        let arguments = [holder.as_bytes(), keep_ms.as_bytes()];
        let ours: i64 = self.run(&scripts::LEASE, &self.key("lease", name), &arguments).await?;
        Ok(ours == 1)
    }
}

/// Tells an instance from the others. Should the system have no randomness, two may have the same name, and take each
/// other's messages for their own until their copies age.
fn sender() -> String {
    format!("{:016x}", getrandom::u64().unwrap_or_default())
}

/// Of an entry that is too long, the head alone: nobody would read the rest, and nobody may go on with what was before.
fn entry_bytes(entry: &Entry) -> Vec<u8> {
    let fits = HEAD_BYTES + entry.value.len() <= ENTRY_BYTES_MAX;
    let value: &[u8] = if fits { &entry.value } else { &[] };
    let mut bytes = Vec::with_capacity(HEAD_BYTES + value.len());
    bytes.push(ENTRY_MARK);
    bytes.extend_from_slice(&entry.version.id.to_be_bytes());
    bytes.extend_from_slice(&entry.version.revision.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// Nothing when it is none of ours. All that we keep ends some time.
fn parse_entry(bytes: Vec<u8>, left_ms: i64) -> Option<Entry> {
    let (&mark, rest) = bytes.split_first()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (revision, _) = rest.split_first_chunk()?;
    let version = Version { id: i64::from_be_bytes(*id), revision: i64::from_be_bytes(*revision) };
    let keep = Duration::from_millis(u64::try_from(left_ms).ok().filter(|left_ms| *left_ms > 0)?);
    (mark == ENTRY_MARK).then(|| Entry { version, value: Bytes::from(bytes).slice(HEAD_BYTES..), keep })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written_and_garbage_is_none() {
        let entry = Entry {
            version: Version { id: 7, revision: 3 },
            value: Bytes::from_static(b"value"),
            keep: Duration::from_millis(9),
        };
        let bytes = entry_bytes(&entry);
        assert_eq!(parse_entry(bytes.clone(), 9).as_ref(), Some(&entry));
        assert_eq!(parse_entry(bytes.clone(), -1), None, "without an end");
        for cut in 0..HEAD_BYTES {
            assert_eq!(parse_entry(bytes[..cut].to_vec(), 9), None);
        }
        assert_eq!(parse_entry(vec![b'x'; 40], 9), None);
        let long = Entry { value: Bytes::from(vec![b'x'; ENTRY_BYTES_MAX]), ..entry.clone() };
        let kept = parse_entry(entry_bytes(&long), 9).unwrap();
        assert_eq!((kept.version, kept.value.len()), (long.version, 0), "which it is, and nothing of it");
    }
}
