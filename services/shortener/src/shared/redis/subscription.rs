//! The subscription to what other instances announce, on a connection of its own.
//! Whenever it begins anew, messages may have been lost in between, and that is announced too.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisResult, Value};
use tokio::sync::{Notify, broadcast};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connection::{Nodes, PING_EVERY, PING_MAX};
use super::message::Message;
use crate::config::RedisConfig;
use crate::shared::Change;
use crate::shared::backoff::Backoff;

/// Changes that a listener may be behind; one that is further behind has lost some, and is told.
const BEHIND_MAX: usize = 4_096;

/// Follows a channel.
pub(super) struct Subscription {
    nodes: Nodes,
    channel: String,
    connect_max: Duration,
    /// Our own messages come back to us: they are not news.
    sender: Arc<str>,
    changes: broadcast::Sender<Change>,
    /// Is notified when others announce elsewhere.
    moved: Arc<Notify>,
}

impl Subscription {
    pub(super) fn new(config: &RedisConfig, channel: String, sender: Arc<str>, moved: Arc<Notify>) -> Self {
        Self {
            nodes: Nodes::new(config),
            channel,
            connect_max: Duration::from_millis(config.connect_ms_max),
            sender,
            changes: broadcast::channel(BEHIND_MAX).0,
            moved,
        }
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Subscribes, and again whenever the connection is lost. In a cluster every node passes on every message, so any of
    /// them will do. Never ends.
    pub(super) async fn keep(&self) {
        let mut backoff = Backoff::default();
        for node in self.nodes.urls.iter().cycle() {
            if let Ok(Ok((sink, messages))) = timeout(self.connect_max, self.subscribe(node)).await {
                backoff.reset();
                self.tell(Change::Unknown);
                self.follow(sink, messages).await;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn subscribe(&self, node: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
        let mut subscription = self.nodes.client(node).await?.get_async_pubsub().await?;
        subscription.subscribe(&self.channel).await?;
        Ok(subscription.split())
    }

    /// Until the connection is lost, does not answer any more, or leads to the wrong node.
    async fn follow(&self, mut sink: PubSubSink, mut messages: PubSubStream) {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.heard(&message),
                    None => return,
                },
                () = self.moved.notified() => return,
                _ = pings.tick() => {
                    if !matches!(timeout(PING_MAX, sink.ping::<Value>()).await, Ok(Ok(_))) {
                        return;
                    }
                }
            }
        }
    }

    fn heard(&self, message: &Msg) {
        // What can't be read is of a later version, or of somebody who has no business here: neither is about anything
        // that is cached here.
        if let Some(message) = Message::parse(message.get_payload_bytes())
            && message.from != *self.sender
        {
            self.tell(message.change());
        }
    }

    fn tell(&self, change: Change) {
        // Without listeners nobody has anything cached.
        let _ = self.changes.send(change);
    }
}
