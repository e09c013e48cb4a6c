//! Asks ClickHouse, within limits: a deadline, so many questions at once, rows and time bounded on the server, reading
//! only. While ClickHouse is away it is left alone and the last known answers are given, marked.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use clickhouse::{RowOwned, RowRead};
use moka::sync::Cache;
use tokio::sync::Semaphore;
use warehouse::{Warehouse, WarehouseError};

use super::sql::Sql;
use crate::config::StatisticsConfig;
use crate::keys::now;
use crate::link::UnixSeconds;
use crate::metrics::Metrics;

/// Bytes of SQL: 20,000 links with all that is said of each, and ClickHouse's default (256 KiB) times eight.
const TEXT_BYTES_MAX: &str = "2097152";

/// Rows of an answer: the largest is one of each link of the largest question, for bots and others. More is a fault.
const ANSWER_ROWS_MAX: &str = "100000";

/// Codes that say that the question is too much, and not that ClickHouse is away: too many rows, too slow, too much time,
/// too much memory, too many bytes.
const TOO_MUCH: [u32; 5] = [158, 159, 160, 241, 307];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// This shortener has no ClickHouse.
    #[error("no ClickHouse is configured")]
    Absent,
    /// It was not asked: it did not answer a moment ago.
    #[error("ClickHouse is left alone after a failure")]
    LeftAlone,
    /// Too many questions at once, or this one took too long.
    #[error("ClickHouse did not answer within {ms} ms")]
    TooSlow {
        /// The deadline.
        ms: u64,
    },
    /// It takes more than one question may.
    #[error("the question takes too much of ClickHouse")]
    TooMuch(#[source] WarehouseError),
    /// It can't be reached, or refuses.
    #[error("ClickHouse does not answer")]
    Unavailable(#[source] WarehouseError),
}

impl StatisticsError {
    /// A name for metrics and events, from a bounded set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "statistics_absent",
            Self::LeftAlone => "statistics_left_alone",
            Self::TooSlow { .. } => "statistics_too_slow",
            Self::TooMuch(_) => "statistics_too_much",
            Self::Unavailable(_) => "statistics_unavailable",
        }
    }
}

/// What ClickHouse said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// When it was given, if that was another time: ClickHouse does not answer now.
    pub stale_since: Option<UnixSeconds>,
}

impl<T> Answer<T> {
    /// The same with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: change(self.value), stale_since: self.stale_since }
    }

    /// Two answers as one, as old as the older.
    pub fn and<U>(self, other: Answer<U>) -> Answer<(T, U)> {
        let stale_since = match (self.stale_since, other.stale_since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Answer { value: (self.value, other.value), stale_since }
    }
}

#[derive(Clone)]
struct Remembered {
    at: UnixSeconds,
    bytes: u32,
    rows: Arc<dyn Any + Send + Sync>,
}

pub(super) struct Reader {
    warehouse: Warehouse,
    config: StatisticsConfig,
    places: Semaphore,
    remembered: Cache<[u8; 32], Remembered>,
    /// Milliseconds since `started` until which ClickHouse is not asked.
    asleep_until_ms: AtomicU64,
    started: Instant,
    metrics: Metrics,
}

impl Reader {
    pub(super) fn new(config: &StatisticsConfig, warehouse: Warehouse, metrics: Metrics) -> Self {
        let remembered = Cache::builder()
            .weigher(|_, kept: &Remembered| kept.bytes)
            .max_capacity(config.remembered_bytes_max)
            .time_to_live(Duration::from_secs(config.remembered_s))
            .build();
        Self {
            warehouse,
            places: Semaphore::new(config.queries_max),
            config: config.clone(),
            remembered,
            asleep_until_ms: AtomicU64::new(0),
            started: Instant::now(),
            metrics,
        }
    }

    /// All rows, or those of the last time.
    pub(super) async fn ask<T>(&self, sql: &Sql) -> Result<Answer<Arc<Vec<T>>>, StatisticsError>
    where
        T: RowOwned + RowRead + Send + Sync + 'static,
    {
        let key = sql.fingerprint();
        match self.ask_now(sql).await {
            Ok(rows) => {
                let rows = Arc::new(rows);
                let bytes = 128 + rows.len() * (std::mem::size_of::<T>() + 64); // and some text in each
                let kept = Remembered {
                    at: now(),
                    bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                    rows: rows.clone(),
                };
                self.remembered.insert(key, kept);
                Ok(Answer { value: rows, stale_since: None })
            }
            Err(error) => {
                self.metrics.statistics_failed(error.kind());
                let kept = self.remembered.get(&key);
                let rows = kept.and_then(|kept| Some((kept.at, kept.rows.downcast::<Vec<T>>().ok()?)));
                rows.map(|(at, value)| Answer { value, stale_since: Some(at) }).ok_or(error)
            }
        }
    }

    /// All rows, as they are now.
    pub(super) async fn ask_now<T>(&self, sql: &Sql) -> Result<Vec<T>, StatisticsError>
    where
        T: RowOwned + RowRead,
    {
        self.wake()?;
        let ms = self.config.query_ms_max;
        let deadline = Duration::from_millis(ms);
        let asked = async {
            // The semaphore is never closed.
            let _place = self.places.acquire().await.ok();
            self.fetch(sql).await
        };
        let started = Instant::now();
        let answer = tokio::time::timeout(deadline, asked).await;
        self.metrics.statistics_asked(started.elapsed());
        match answer {
            Ok(Ok(rows)) => {
                self.asleep_until_ms.store(0, SeqCst);
                Ok(rows)
            }
            Ok(Err(error)) if error.code().is_some_and(|code| TOO_MUCH.contains(&code)) => {
                Err(StatisticsError::TooMuch(error))
            }
            Ok(Err(error)) => {
                self.sleep();
                Err(StatisticsError::Unavailable(error))
            }
            Err(_) => {
                self.sleep();
                Err(StatisticsError::TooSlow { ms })
            }
        }
    }

    async fn fetch<T>(&self, sql: &Sql) -> Result<Vec<T>, WarehouseError>
    where
        T: RowOwned + RowRead,
    {
        let seconds = self.config.query_ms_max.div_ceil(1000).to_string();
        let rows = self.config.rows_read_max.to_string();
        let settings = [
            // Reads only, and may still bring the settings below.
            ("readonly", "2"),
            ("max_execution_time", &*seconds),
            ("max_rows_to_read", &*rows),
            ("max_result_rows", ANSWER_ROWS_MAX),
            ("max_query_size", TEXT_BYTES_MAX),
        ];
        Ok(sql.query(&self.warehouse, &settings).fetch_all::<T>().await?)
    }

    /// Whether ClickHouse may be asked. After the pause one may try; the others wait for what it finds.
    fn wake(&self) -> Result<(), StatisticsError> {
        let until = self.asleep_until_ms.load(SeqCst);
        if until == 0 {
            return Ok(());
        }
        let now = self.now_ms();
        let tries = now >= until
            && self
                .asleep_until_ms
                .compare_exchange(until, now + self.config.retry_ms, SeqCst, SeqCst)
                .is_ok();
        if tries { Ok(()) } else { Err(StatisticsError::LeftAlone) }
    }

    fn sleep(&self) {
        self.asleep_until_ms.store((self.now_ms() + self.config.retry_ms).max(1), SeqCst);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}
