//! Dead letters as operators handle them: looked at, put back into the event log, blanked. What is appended to the log,
//! and how a letter is repaired, is the caller's; this keeps the books.

mod id;
mod replay;

use clickhouse::Row;
use serde::Deserialize;

pub use id::{LetterId, ParseLetterIdError};
pub use replay::{Begin, Replay, begin_replay, finish_replay};

use crate::{Warehouse, WarehouseError, queries};

/// 2100: later than any row.
const FAR_AHEAD_US: i64 = 4_102_444_800_000_000;

/// Rows of a list unless the caller says otherwise: a few screens.
const LIMIT: u32 = 100;

/// Which dead letters are meant. The default: all, the newest hundred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Topic that they came from.
    pub topic: Option<String>,
    /// Partition that they came from.
    pub partition: Option<u32>,
    /// Reason, as a symbol.
    pub reason: Option<String>,
    /// Collected at or after, microseconds since 1970.
    pub since_us: Option<i64>,
    /// Collected before, microseconds since 1970.
    pub until_us: Option<i64>,
    /// Rows at the most, newest first. [`purge`] does not look at it.
    pub limit: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { topic: None, partition: None, reason: None, since_us: None, until_us: None, limit: LIMIT }
    }
}

/// A row of `dead_letters` and how far its replay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came from.
    pub id: LetterId,
    /// Events that it stands for.
    pub events: u64,
    /// Why it could not be stored, as a symbol.
    pub reason: String,
    /// Why, for people. Empty when it was purged.
    pub detail: String,
    /// Header `schema` of its message.
    pub schema: String,
    /// Header `content-type` of its message.
    pub content_type: String,
    /// The bytes as they came; empty in a list, and when it was purged.
    pub raw: Vec<u8>,
    /// How many bytes there are.
    pub raw_bytes: u64,
    /// When its message was appended to the log, microseconds since 1970; 0 where the log did not say.
    pub appended_at_us: i64,
    /// When its range was collected, microseconds since 1970.
    pub collected_at_us: i64,
    /// Whether its bytes were blanked.
    pub purged: bool,
    /// Replays that were begun.
    pub replays_begun: u64,
    /// Replays that were finished. Fewer than were begun: one was interrupted, and nobody knows whether it was appended.
    pub replays_done: u64,
}

/// Dead letters, newest first, without their bytes.
///
/// # Errors
/// See [`WarehouseError`].
pub async fn list(warehouse: &Warehouse, filter: &Filter) -> Result<Vec<DeadLetter>, WarehouseError> {
    read(warehouse, filter, None).await
}

/// A dead letter with its bytes. Mostly one row; a message as a whole (line 0) can have two, for lines that never came
/// and for more bad lines than get rows of their own. None: there is no such letter, or it has expired.
///
/// # Errors
/// See [`WarehouseError`].
pub async fn get(warehouse: &Warehouse, id: &LetterId) -> Result<Vec<DeadLetter>, WarehouseError> {
    let filter = Filter { topic: Some(id.topic.clone()), partition: Some(id.partition), ..Filter::default() };
    read(warehouse, &filter, Some(id)).await
}

/// Blanks bytes and detail of dead letters for good; returns of how many. The rows stay, so the ledger goes on balancing.
/// Waits until it is done, on all replicas. Letters that are collected meanwhile may stay as they are.
///
/// # Errors
/// See [`WarehouseError`]. After [`WarehouseError::TimedOut`] ClickHouse goes on with it.
pub async fn purge(warehouse: &Warehouse, filter: &Filter) -> Result<u64, WarehouseError> {
    blank(warehouse, &condition(filter)).await
}

/// As [`purge`], of one dead letter; 0: there is no such letter, or its bytes are gone.
///
/// # Errors
/// See [`purge`].
pub async fn purge_one(warehouse: &Warehouse, id: &LetterId) -> Result<u64, WarehouseError> {
    let LetterId { topic, partition, offset, line } = id;
    let filter = Filter { topic: Some(topic.clone()), partition: Some(*partition), ..Filter::default() };
    blank(warehouse, &format!("{} AND log_offset = {offset} AND line = {line}", condition(&filter))).await
}

async fn blank(warehouse: &Warehouse, condition: &str) -> Result<u64, WarehouseError> {
    let count = format!("SELECT count() FROM dead_letters WHERE {condition}");
    let letters: Vec<u64> = warehouse.rows(&count, &[]).await?;
    let letters = letters.first().copied().unwrap_or_default();
    if letters > 0 {
        let table = warehouse.config().stored_in("dead_letters");
        let blank = format!(
            "ALTER TABLE {table} UPDATE raw = '', detail = '', purged = true WHERE {condition} \
             SETTINGS mutations_sync = 2"
        );
        warehouse.execute(&blank).await?;
    }
    Ok(letters)
}

fn condition(filter: &Filter) -> String {
    let Filter { topic, partition, reason, since_us, until_us, .. } = filter;
    let mut all = vec!["NOT purged".to_owned()];
    all.extend(topic.as_ref().map(|topic| format!("topic = {}", quoted(topic))));
    all.extend(partition.map(|partition| format!("log_partition = {partition}")));
    all.extend(reason.as_ref().map(|reason| format!("reason = {}", quoted(reason))));
    all.extend(since_us.map(|since| format!("collected_at >= fromUnixTimestamp64Micro({since})")));
    all.extend(until_us.map(|until| format!("collected_at < fromUnixTimestamp64Micro({until})")));
    all.join(" AND ")
}

/// As a literal: mutations are kept as text, so they take no parameters.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[derive(Debug, Row, Deserialize)]
struct LetterRow {
    topic: String,
    partition: u32,
    offset: u64,
    line: u32,
    events: u64,
    reason: String,
    detail: String,
    schema: String,
    content_type: String,
    appended_at_us: i64,
    collected_at_us: i64,
    purged: bool,
    raw_bytes: u64,
    raw_hex: String,
    replays_begun: u64,
    replays_done: u64,
}

async fn read(
    warehouse: &Warehouse,
    filter: &Filter,
    id: Option<&LetterId>,
) -> Result<Vec<DeadLetter>, WarehouseError> {
    let any_or = |number: Option<i128>| number.unwrap_or(-1).to_string();
    let parameters = [
        ("topic", filter.topic.clone().unwrap_or_default()),
        ("partition", any_or(filter.partition.map(i128::from))),
        ("offset", any_or(id.map(|id| i128::from(id.offset)))),
        ("line", any_or(id.map(|id| i128::from(id.line)))),
        ("reason", filter.reason.clone().unwrap_or_default()),
        ("since_us", filter.since_us.unwrap_or(0).to_string()),
        ("until_us", filter.until_us.unwrap_or(FAR_AHEAD_US).to_string()),
        ("limit", filter.limit.to_string()),
        ("with_raw", id.is_some().to_string()),
    ];
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
    let rows: Vec<LetterRow> = warehouse.rows(queries::DEAD_LETTERS, &parameters).await?;
    Ok(rows.into_iter().map(DeadLetter::from).collect())
}

impl From<LetterRow> for DeadLetter {
    fn from(row: LetterRow) -> Self {
        Self {
            id: LetterId { topic: row.topic, partition: row.partition, offset: row.offset, line: row.line },
            events: row.events,
            reason: row.reason,
            detail: row.detail,
            schema: row.schema,
            content_type: row.content_type,
            raw: from_hex(&row.raw_hex),
            raw_bytes: row.raw_bytes,
            appended_at_us: row.appended_at_us,
            collected_at_us: row.collected_at_us,
            purged: row.purged,
            replays_begun: row.replays_begun,
            replays_done: row.replays_done,
        }
    }
}

/// What ClickHouse's `hex()` wrote.
fn from_hex(hex: &str) -> Vec<u8> {
    let byte =
        |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16).unwrap_or_default();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_purged_is_what_was_asked_for() {
        assert_eq!(condition(&Filter::default()), "NOT purged");
        let filter = Filter {
            topic: Some("t'\\".to_owned()),
            partition: Some(3),
            reason: Some("syntax".to_owned()),
            since_us: Some(1),
            until_us: Some(2),
            limit: 1,
        };
        let expected = r"NOT purged AND topic = 't\'\\' AND log_partition = 3 AND reason = 'syntax' AND collected_at >= fromUnixTimestamp64Micro(1) AND collected_at < fromUnixTimestamp64Micro(2)";
        assert_eq!(condition(&filter), expected);
    }

    #[test]
    fn bytes_come_back_from_hexadecimal() {
        assert_eq!(from_hex("00FF7a"), [0, 255, 0x7a]);
    }
}
