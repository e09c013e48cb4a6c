//! Asks ClickHouse, within limits: a deadline, so many questions at once, rows and time bounded on the server, reading
//! only. While ClickHouse can't be reached it is left alone and the last known answers are given, marked. One question
//! that is too slow or too much is no reason to keep others from asking.

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

/// Codes that say that the question is too much: too many rows, too slow, too much time, too much memory, too many bytes,
/// too many rows or bytes of an answer.
const TOO_MUCH: [u32; 6] = [158, 159, 160, 241, 307, 396];

/// How the code for too much memory begins where it is that of all questions together: this one may do another time.
const MEMORY_OF_ALL: &str = "(total) memory limit exceeded";

/// Code of a ClickHouse that has too many questions: it answers, and is better left alone all the same.
const TOO_MANY_QUERIES: u32 = 202;

/// Code of a question that no projection answers.
const NOT_PROJECTED: u32 = 584;

/// How long ClickHouse may take to say that it is there, after a question took too long: it has nothing to do for that.
const PING_MAX: Duration = Duration::from_millis(500);

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
    /// It takes more than one question may: the same again would, too.
    #[error("the question takes too much of ClickHouse")]
    TooMuch(#[source] WarehouseError),
    /// It can't be reached, or refuses.
    #[error("ClickHouse does not answer")]
    Unavailable(#[source] WarehouseError),
    /// It would have to be read from the rows: ask that instead.
    #[error("no projection answers the question")]
    NotProjected,
    /// It does not answer now, and what it said before is not enough.
    #[error("ClickHouse does not answer, and what is known of before is not enough")]
    Stale,
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
            Self::NotProjected => "statistics_not_projected",
            Self::Stale => "statistics_stale",
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
    /// The value, if it was given just now.
    ///
    /// # Errors
    /// [`StatisticsError::Stale`].
    pub fn current(self) -> Result<T, StatisticsError> {
        if self.stale_since.is_none() { Ok(self.value) } else { Err(StatisticsError::Stale) }
    }

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
            Err(StatisticsError::NotProjected) => Err(StatisticsError::NotProjected),
            Err(error @ StatisticsError::TooMuch(_)) => {
                self.metrics.statistics_failed(error.kind());
                Err(error)
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
            Ok(Err(error)) if is_too_much(&error) => Err(StatisticsError::TooMuch(error)),
            Ok(Err(error)) if sql.is_projected && error.code() == Some(NOT_PROJECTED) => {
                Err(StatisticsError::NotProjected)
            }
            Ok(Err(error)) => {
                // Whoever gives a reason is there.
                if error.code().is_none_or(|code| code == TOO_MANY_QUERIES) {
                    self.sleep();
                }
                Err(StatisticsError::Unavailable(error))
            }
            Err(_) => {
                let ping = tokio::time::timeout(PING_MAX, self.warehouse.ping()).await;
                if !matches!(ping, Ok(Ok(()))) {
                    self.sleep();
                }
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
            ("force_optimize_projection", if sql.is_projected { "1" } else { "0" }),
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

fn is_too_much(error: &WarehouseError) -> bool {
    match error {
        WarehouseError::Exception { code, message } => {
            TOO_MUCH.contains(code) && !message.contains(MEMORY_OF_ALL)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use warehouse::WarehouseConfig;

    use super::*;

    /// Asks two questions, one after the other, of a ClickHouse that says `answer` to questions, or nothing, and answers
    /// who asks whether it is there if `pings`.
    async fn twice(answer: &'static str, pings: bool) -> [&'static str; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = vec![0; 65_536];
                    let mut length = 0;
                    while let Ok(read @ 1..) = stream.read(&mut request[length..]).await {
                        length += read;
                        let text = String::from_utf8_lossy(&request[..length]);
                        let said = if text.contains("SELECT 1") {
                            if pings { "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" } else { "" }
                        } else if text.contains("SELECT 2") {
                            answer
                        } else {
                            continue;
                        };
                        length = 0;
                        let _ = stream.write_all(said.as_bytes()).await;
                    }
                });
            }
        });
        let config = StatisticsConfig { query_ms_max: 300, retry_ms: 600_000, ..StatisticsConfig::default() };
        let warehouse = Warehouse::new(&WarehouseConfig { url, ..WarehouseConfig::default() });
        let reader = Reader::new(&config, warehouse, Metrics::default());
        let mut sql = Sql::default();
        sql.push("SELECT 2");
        let mut kinds = [""; 2];
        for kind in &mut kinds {
            *kind = reader.ask::<u64>(&sql).await.unwrap_err().kind();
        }
        kinds
    }

    #[tokio::test]
    async fn who_gives_a_reason_is_asked_again() {
        for (code, kind) in [
            ("62. DB::Exception: Syntax error", "statistics_unavailable"),
            ("159. DB::Exception: Timeout exceeded", "statistics_too_much"),
            ("241. DB::Exception: (total) memory limit exceeded", "statistics_unavailable"),
            ("241. DB::Exception: Query memory limit exceeded", "statistics_too_much"),
        ] {
            let body = format!("Code: {code}");
            let answer =
                format!("HTTP/1.1 500 Internal Server Error\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            assert_eq!(twice(answer.leak(), true).await, [kind, kind], "{code}");
        }
        let full = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nCode: 202";
        assert_eq!(twice(full, true).await, ["statistics_unavailable", "statistics_left_alone"]);
    }

    #[tokio::test]
    async fn a_slow_question_keeps_nobody_from_asking_and_a_silent_clickhouse_does() {
        assert_eq!(twice("", true).await, ["statistics_too_slow", "statistics_too_slow"]);
        assert_eq!(twice("", false).await, ["statistics_too_slow", "statistics_left_alone"]);
        let nobody = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(twice(nobody, true).await, ["statistics_unavailable", "statistics_left_alone"]);
    }
}
