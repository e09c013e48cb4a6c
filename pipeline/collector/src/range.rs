//! A range: a run of messages of one partition that is stored as a whole, or not at all, under one token.
//! Only data: it is cut in [`crate::consume`], built in [`crate::batch`] and stored in [`crate::insert`].

use std::sync::Arc;

use event_log::Record;

use crate::intent::Intent;
use crate::policy::Policy;

/// Messages that are stored together, and all that decides how.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    /// What the log is, as spans say it.
    pub(crate) system: &'static str,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    /// The position as committed: where the range begins, whether a message has that very offset or not.
    pub(crate) first: u64,
    /// In their order; the last one has the intent's offset.
    pub(crate) records: Arc<[Record]>,
    pub(crate) intent: Intent,
    pub(crate) policy: Arc<Policy>,
    /// Whether it may have been stored before.
    pub(crate) replay: bool,
}

impl Range {
    /// Under which ClickHouse recognises it.
    pub(crate) fn token(&self) -> String {
        format!("{}:{}:{}-{}", self.topic, self.partition, self.first, self.intent.last)
    }
}
