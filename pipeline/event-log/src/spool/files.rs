//! The files of a spool: their names, modes, schemas and versions, and connections to them.
//!
//! `log.db` is written by producers, `groups.db` by consumers: SQLite has one writer a file and does not queue
//! for it fairly, so in one file a busy producer would keep the collector from committing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::{OpenError, SpoolConfig, stray};

/// Version of both schemas, in `PRAGMA user_version`.
const SCHEMA_VERSION: i64 = 1;
/// "hopl": tells a spool from any other SQLite file, in `PRAGMA application_id`.
const APPLICATION_ID: i64 = 0x686f_706c;
/// A WAL is cut down to this when it starts over, bytes.
const WAL_KEEP_BYTES: u64 = 16 << 20;

/// The key of a message is its partition and offset in one integer, so that the table is its own index and rows
/// stay in the order of offsets. `events_before` and `bytes_before` are sums over all earlier messages of the
/// partition: any range is added up by one subtraction, and also what retention deleted stays counted.
const LOG_SCHEMA: &str = "
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    first_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    events_total INTEGER NOT NULL,
    bytes_total INTEGER NOT NULL
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    appended_at_us INTEGER NOT NULL,
    events INTEGER NOT NULL,
    events_before INTEGER NOT NULL,
    bytes_before INTEGER NOT NULL,
    schema TEXT NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
";

const GROUPS_SCHEMA: &str = "
CREATE TABLE groups (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE positions (
    name TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    committed_at_us INTEGER NOT NULL,
    PRIMARY KEY (name, partition)
) STRICT, WITHOUT ROWID;
";

/// First key of a partition; 2^40 offsets each last a million messages a second for twelve days, or a
/// thousand for 34 years.
pub(super) fn key(partition: u32, offset: u64) -> i64 {
    (i64::from(partition) << 40) + offset.min((1 << 40) - 1) as i64
}

/// The offset in a key.
pub(super) fn offset_of(key: i64) -> u64 {
    (key & ((1 << 40) - 1)) as u64
}

pub(super) fn log_path(config: &SpoolConfig) -> PathBuf {
    config.path.join("log.db")
}

pub(super) fn wal_path(config: &SpoolConfig) -> PathBuf {
    config.path.join("log.db-wal")
}

/// When something was last written; `None` if there is no WAL. A system call of a microsecond.
pub(super) fn wal_stamp(config: &SpoolConfig) -> Option<SystemTime> {
    std::fs::metadata(wal_path(config)).and_then(|metadata| metadata.modified()).ok()
}

fn groups_path(config: &SpoolConfig) -> PathBuf {
    config.path.join("groups.db")
}

/// Creates what is missing and checks versions. Safe to call from several processes at once.
pub(super) async fn create(config: &SpoolConfig) -> Result<(), OpenError> {
    let directory = config.path.clone();
    let lock =
        tokio::task::spawn_blocking(move || lock(&directory)).await.map_err(std::io::Error::other)??;
    let mut log = create_database(config, &log_path(config), LOG_SCHEMA).await?;
    add_partitions(&mut log, config.partitions).await?;
    let mut groups = create_database(config, &groups_path(config), GROUPS_SCHEMA).await?;
    stray::note(&mut log, &mut groups).await?;
    log.close().await?;
    groups.close().await?;
    drop(lock);
    Ok(())
}

async fn create_database(
    config: &SpoolConfig,
    path: &Path,
    schema: &str,
) -> Result<SqliteConnection, OpenError> {
    create_file(path)?;
    if std::fs::metadata(path)?.len() > 0 {
        check(config, path).await?;
    }
    let mut connection = connect(config, path).await?;
    prepare(&mut connection, schema).await?;
    Ok(connection)
}

/// Switching an empty file to WAL mode does not wait for other connections, so creation is serialised.
fn lock(directory: &Path) -> std::io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(directory.join("lock"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// An empty file for the owner alone; SQLite gives the WAL and its index the same mode. A file that exists is not even
/// opened: closing it would drop the locks that this process's SQLite connections have on it, and with them
/// what keeps another process from deleting the WAL under us (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
fn create_file(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

async fn prepare(connection: &mut SqliteConnection, schema: &str) -> Result<(), OpenError> {
    if version(connection).await? == SCHEMA_VERSION {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let sql =
        format!("{schema} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};");
    // Constants of this module only.
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// 0 for an empty file.
async fn version(connection: &mut SqliteConnection) -> Result<i64, OpenError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(connection).await?;
    match (application, found, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, SCHEMA_VERSION, _) => Ok(SCHEMA_VERSION),
        (APPLICATION_ID, found, _) => Err(OpenError::Newer { found, supported: SCHEMA_VERSION }),
        _ => Err(OpenError::Foreign),
    }
}

async fn add_partitions(connection: &mut SqliteConnection, partitions: u32) -> Result<(), OpenError> {
    let present: i64 =
        sqlx::query_scalar("SELECT count(*) FROM partitions").fetch_one(&mut *connection).await?;
    for partition in u32::try_from(present).unwrap_or(u32::MAX)..partitions {
        sqlx::query("INSERT INTO partitions VALUES (?, 0, 0, 0, 0)")
            .bind(partition)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A connection to the messages of an existing spool.
pub(super) async fn connect_log(config: &SpoolConfig) -> Result<SqliteConnection, OpenError> {
    connect_existing(config, &log_path(config)).await
}

/// A connection to the positions of an existing spool.
pub(super) async fn connect_groups(config: &SpoolConfig) -> Result<SqliteConnection, OpenError> {
    connect_existing(config, &groups_path(config)).await
}

async fn connect_existing(config: &SpoolConfig, path: &Path) -> Result<SqliteConnection, OpenError> {
    if !path.try_exists()? {
        return Err(OpenError::Missing);
    }
    match check(config, path).await? {
        0 => Err(OpenError::Missing),
        _ => connect(config, path).await,
    }
}

/// The version, found by a connection that sets nothing, so that a foreign or newer file stays as it is.
async fn check(config: &SpoolConfig, path: &Path) -> Result<i64, OpenError> {
    let busy = Duration::from_millis(config.busy_ms);
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(busy).disable_statement_logging();
    let mut connection = options.connect().await?;
    let version = version(&mut connection).await?;
    connection.close().await?;
    Ok(version)
}

async fn connect(config: &SpoolConfig, path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        // SQLite's default. 16 KiB was no faster, and had checkpoints wait four times as long.
        .page_size(4096)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(config.synchronous.into())
        .busy_timeout(Duration::from_millis(config.busy_ms))
        .pragma("journal_size_limit", WAL_KEEP_BYTES.to_string())
        // On macOS fsync alone leaves data in the drive's cache. No effect elsewhere.
        .pragma("fullfsync", "ON")
        // Rows can be 16 MiB each: read ahead a few, not the default 50.
        .row_buffer_size(4)
        .disable_statement_logging();
    Ok(options.connect().await?)
}
