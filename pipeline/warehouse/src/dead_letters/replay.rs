//! Who may replay a dead letter. An attempt is claimed by a row whose deduplication token is the letter's name and the
//! number of the attempt: of two operators who begin at once, ClickHouse stores the row of one, and both read whose.

use clickhouse::Row;
use serde::Deserialize;

use super::LetterId;
use crate::{Block, Column, SymbolColumn, TextColumn, Warehouse, WarehouseError, queries};

const TABLE: &str = "dead_letter_replays";

/// Whether a replay may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// It is ours: append, then [`finish_replay`].
    Ours(Replay),
    /// It was begun before, or at the same time, and never finished: it may have been appended.
    Begun {
        /// By whom the last time.
        operator: String,
        /// When the last time, microseconds since 1970.
        begun_at_us: i64,
    },
    /// It was replayed.
    Done {
        /// By whom the last time.
        operator: String,
        /// When it was begun the last time, microseconds since 1970.
        begun_at_us: i64,
    },
}

/// A claimed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    id: LetterId,
    attempt: String,
    operator: String,
}

#[derive(Debug, Row, Deserialize)]
struct State {
    begun: u64,
    done: u64,
    last_attempt: String,
    last_operator: String,
    last_begun_us: i64,
    new_attempt: String,
}

/// Claims the replay of a dead letter. `again`: also when it was begun or done before. Of any number of callers at once
/// one gets it, on a cluster too; a caller that is answered by a replica which lags behind is refused and can try again.
///
/// # Errors
/// See [`WarehouseError`]. After one the attempt may have been begun.
pub async fn begin_replay(
    warehouse: &Warehouse,
    id: &LetterId,
    operator: &str,
    again: bool,
) -> Result<Begin, WarehouseError> {
    let before = state(warehouse, id).await?;
    if before.begun > 0 && !again {
        return Ok(before.refusal());
    }
    let replay =
        Replay { id: id.clone(), attempt: before.new_attempt.clone(), operator: operator.to_owned() };
    write(warehouse, &replay, "begun", &format!("replay:{id}:{}", before.begun)).await?;
    let after = state(warehouse, id).await?;
    Ok(if after.last_attempt == replay.attempt { Begin::Ours(replay) } else { after.refusal() })
}

/// Says that the letter is in the event log again. Can be repeated.
///
/// # Errors
/// See [`WarehouseError`].
pub async fn finish_replay(warehouse: &Warehouse, replay: &Replay) -> Result<(), WarehouseError> {
    write(warehouse, replay, "done", &format!("replayed:{}", replay.attempt)).await
}

impl State {
    fn refusal(self) -> Begin {
        let (operator, begun_at_us) = (self.last_operator, self.last_begun_us);
        if self.done > 0 {
            Begin::Done { operator, begun_at_us }
        } else {
            Begin::Begun { operator, begun_at_us }
        }
    }
}

async fn state(warehouse: &Warehouse, id: &LetterId) -> Result<State, WarehouseError> {
    let (partition, offset, line) = (id.partition.to_string(), id.offset.to_string(), id.line.to_string());
    let parameters =
        [("topic", &*id.topic), ("partition", &*partition), ("offset", &*offset), ("line", &*line)];
    let states = warehouse.rows(queries::REPLAY_STATE, &parameters).await?;
    states.into_iter().next().ok_or_else(|| WarehouseError::Schema("ClickHouse answers nothing".to_owned()))
}

async fn write(
    warehouse: &Warehouse,
    replay: &Replay,
    state: &str,
    token: &str,
) -> Result<(), WarehouseError> {
    let Replay { id, attempt, operator } = replay;
    let symbol = |text: &str| {
        let mut column = SymbolColumn::default();
        column.push(text);
        Column::Symbol(column)
    };
    let text = |text: &str| {
        let mut column = TextColumn::default();
        column.push(text);
        Column::Text(column)
    };
    let columns = vec![
        ("topic", symbol(&id.topic)),
        ("log_partition", Column::U32(vec![id.partition])),
        ("log_offset", Column::U64(vec![id.offset])),
        ("line", Column::U32(vec![id.line])),
        ("attempt", text(attempt)),
        ("state", symbol(state)),
        ("operator", text(operator)),
    ];
    let block = Block::new(columns).map_err(|source| WarehouseError::Block { table: TABLE, source })?;
    warehouse.insert(TABLE, &block, token).await?;
    Ok(())
}
