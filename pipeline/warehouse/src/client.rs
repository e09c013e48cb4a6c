//! The client: inserts of blocks under a token, and queries. Thin over the `clickhouse` crate, which does HTTP,
//! pooling and compression. Nothing is retried here.

use bytes::Bytes;
use clickhouse::{Client, Compression, RowOwned, RowRead};

use crate::{Block, WarehouseConfig, WarehouseError};

/// Bytes of a block that are compressed and sent at a time: ClickHouse's own size of a compressed block.
const CHUNK_BYTES: usize = 1 << 20;

/// Rows that one insert may have and still be one block: far above what a range holds. With more, ClickHouse would
/// split the block, and then parts of it could be stored without the others.
const BLOCK_ROWS_MAX: &str = "100000000";

/// How many partitions (days) one insert may touch. A range spans a day and its events a week more; 100 is
/// ClickHouse's default and ten times that.
const PARTITIONS_MAX: &str = "100";

/// ClickHouse, seen from hoplog. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Warehouse {
    client: Client,
    config: WarehouseConfig,
}

impl Warehouse {
    /// Makes a client; connects when it is used.
    #[must_use]
    pub fn new(config: &WarehouseConfig) -> Self {
        let mut client = Client::default()
            .with_url(&config.url)
            .with_database(&config.database)
            .with_compression(Compression::Lz4)
            .with_product_info("hoplog", env!("CARGO_PKG_VERSION"));
        if !config.user.is_empty() {
            client = client.with_user(&config.user).with_password(config.password.reveal());
        }
        Self { client, config: config.clone() }
    }

    /// The configuration it was made with.
    #[must_use]
    pub const fn config(&self) -> &WarehouseConfig {
        &self.config
    }

    /// Inserts a block, as one block and at most once: the same token again is acknowledged and dropped.
    /// Returns the bytes of the block before compression. A block without rows is not sent.
    ///
    /// # Errors
    /// See [`WarehouseError`]. After [`WarehouseError::TimedOut`] and [`WarehouseError::Network`] the block may
    /// have been stored: insert the same again under the same token.
    pub async fn insert(&self, table: &str, block: &Block, token: &str) -> Result<usize, WarehouseError> {
        if block.rows() == 0 {
            return Ok(0);
        }
        let names = block.names().collect::<Vec<_>>().join(", ");
        let timeout = self.config.insert_timeout();
        let seconds = timeout.as_millis().div_ceil(1000).to_string();
        let settings = [
            ("insert_deduplicate", "1"),
            ("insert_deduplication_token", token),
            ("async_insert", "0"),
            ("wait_end_of_query", "1"),
            // One block in is one block stored: neither cut nor joined with others.
            ("max_insert_block_size", BLOCK_ROWS_MAX),
            ("min_insert_block_size_rows", "0"),
            ("min_insert_block_size_bytes", "0"),
            ("max_partitions_per_insert_block", PARTITIONS_MAX),
            ("max_execution_time", &seconds),
            // A column that the table does not have is an error, not silence.
            ("input_format_skip_unknown_fields", "0"),
            // Where the table is over several servers: stored on them, and not in a queue, when it is acknowledged.
            ("distributed_foreground_insert", "1"),
            // What a view makes of the block is stored once, too, also where only the block itself had been stored.
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
        ];
        let statement = format!("INSERT INTO {table} ({names}) FORMAT Native");
        let mut insert = self.client.insert_formatted_with(statement);
        for (name, value) in settings {
            insert = insert.with_setting(name, value);
        }
        let mut insert = insert.with_timeouts(Some(timeout), Some(timeout));
        let bytes = Bytes::from(block.encode());
        for start in (0..bytes.len()).step_by(CHUNK_BYTES) {
            insert.send(bytes.slice(start..bytes.len().min(start + CHUNK_BYTES))).await?;
        }
        insert.end().await?;
        Ok(bytes.len())
    }

    /// Runs a statement that returns nothing.
    ///
    /// # Errors
    /// See [`WarehouseError`].
    pub async fn execute(&self, sql: &str) -> Result<(), WarehouseError> {
        self.bounded(async { Ok(self.reader().query_raw(sql).execute().await?) }).await
    }

    /// Runs a query with `{name:Type}` parameters and returns all its rows.
    ///
    /// # Errors
    /// See [`WarehouseError`].
    pub async fn rows<T>(&self, sql: &str, parameters: &[(&str, &str)]) -> Result<Vec<T>, WarehouseError>
    where
        T: RowOwned + RowRead,
    {
        let mut query = self.reader().query_raw(sql);
        for (name, value) in parameters {
            query = query.param(name, value);
        }
        self.bounded(async { Ok(query.fetch_all::<T>().await?) }).await
    }

    /// A query whose `?` the caller binds: the values are escaped into the body, so they may be longer than a URL. With
    /// settings of its own, and without a deadline: that is the caller's.
    pub fn query(&self, sql: &str, settings: &[(&str, &str)]) -> clickhouse::query::Query {
        let mut client = self.reader();
        for (name, value) in settings {
            client = client.with_setting(*name, *value);
        }
        client.query(sql)
    }

    /// Whether ClickHouse answers.
    ///
    /// # Errors
    /// See [`WarehouseError`].
    pub async fn ping(&self) -> Result<(), WarehouseError> {
        self.execute("SELECT 1 FORMAT Null").await
    }

    /// The same server, before the database is there.
    pub(crate) async fn execute_outside(&self, sql: &str) -> Result<(), WarehouseError> {
        let client = self.reader().with_database("default");
        self.bounded(async { Ok(client.query_raw(sql).execute().await?) }).await
    }

    /// Answers are small: compressing them costs more than it saves.
    fn reader(&self) -> Client {
        let reader = self.client.clone().with_compression(Compression::None);
        if self.config.cluster.is_none() {
            return reader;
        }
        // What is waited for is that the servers which are up have done it, and no longer than we wait ourselves.
        let ddl_s = (self.config.query_ms_max / 1000).saturating_sub(1).max(1).to_string();
        reader
            // The right side of a join, and of an IN, is asked for once and of all servers.
            .with_setting("distributed_product_mode", "global")
            // A step of the schema is recorded when it is said to be.
            .with_setting("distributed_foreground_insert", "1")
            .with_setting("distributed_ddl_output_mode", "throw_only_active")
            .with_setting("distributed_ddl_task_timeout", ddl_s)
    }

    async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, WarehouseError>>,
    ) -> Result<T, WarehouseError> {
        tokio::time::timeout(self.config.query_timeout(), work).await.unwrap_or(Err(WarehouseError::TimedOut))
    }
}
