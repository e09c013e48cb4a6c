//! The engine of this process: one data directory, opened once, and fresh connections to it.
//!
//! A connection serves one request and is closed: it costs 0.06 ms, and nothing of a request (settings,
//! current database, temporary tables) can reach the next. Only sessions keep theirs (see `session`).
//!
//! What a connection may do is decided here, in the files the engine boots from: no access to files, URLs,
//! other servers or programs of the machine for anybody. The library would allow all of that, and a port on
//! loopback is open to every local user.

use crate::config::{EngineConfig, LIBRARY_VERSION};
use crate::deduplication;
use crate::exception::{Exception, code};
use crate::ffi::{Connection, Library, LoadError};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why the engine did not start or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The library is missing or not usable.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// The library is another version than the one this program is tested with.
    #[error("{path} is libchdb {found}, needed is {LIBRARY_VERSION}; `cargo xtask up` fetches it")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// Another engine has the data directory open.
    #[error("another engine is running on {0}")]
    Locked(PathBuf),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}")]
    Data {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The library refused to open the data directory; its reason is on standard error.
    #[error("the engine cannot open {0}; what it wrote to standard error says why")]
    Open(PathBuf),
    /// The listener failed.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
}

/// The profile that a read-only user's connection is put under.
const READER_PROFILE: &str = "hoplog_reader";

/// The setting that marks a request's connection, so that the query can be found in `system.processes`
/// from another one: the library gives queries random ids. This setting means something to ClickHouse's TCP
/// server only, which the library does not have.
const MARK_SETTING: &str = "idle_connection_timeout";

/// Marks begin here: far from any value that means something.
const MARK_FIRST: u64 = 1 << 40;

/// An open engine.
pub(crate) struct Engine {
    library: &'static Library,
    directory: String,
    threads: usize,
    query_memory_bytes_max: u64,
    reader_seconds_max: u64,
    marks: AtomicU64,
    /// Query ids of running requests and their marks.
    running: Mutex<HashMap<String, u64>>,
    /// Keeps the engine open between requests.
    keeper: Mutex<Option<Connection>>,
    /// The engine's full version, such as `26.7.2.1`.
    pub(crate) version: String,
    pub(crate) timezone: String,
    pub(crate) host: String,
    content_types: HashMap<String, String>,
    _lock: File,
}

impl Engine {
    /// Opens the data directory. Blocks for as long as its tables take to load.
    pub(crate) fn open(config: &EngineConfig) -> Result<Self, EngineError> {
        let path = config.library_path();
        let lock = prepare(config)?;
        let library = Library::load(&path)?;
        let found = library.version();
        if found != LIBRARY_VERSION {
            return Err(EngineError::Version { path, found });
        }
        let absolute = |path: &Path| {
            fs::canonicalize(path).map_err(|source| EngineError::Data { path: path.to_owned(), source })
        };
        let directory = absolute(&config.data_dir)?;
        let boot = [
            format!("--path={}", directory.join("clickhouse").display()),
            format!("--config-file={}", directory.join("config.xml").display()),
        ];
        let mut keeper = library.connect(&boot).ok_or_else(|| EngineError::Open(directory.clone()))?;
        let about = keeper
            .query(b"SELECT version(), timezone(), hostName()", "TSVRaw", &[])
            .map_err(|_| EngineError::Open(directory.clone()))?;
        let about = String::from_utf8_lossy(about.as_ref()).into_owned();
        let mut about = about.trim_end().split('\t').map(str::to_owned);
        let mut next = || about.next().unwrap_or_default();
        let (version, timezone, host) = (next(), next(), next());
        let formats = keeper
            .query(
                b"SELECT lower(name), content_type FROM system.formats WHERE content_type != ''",
                "TSVRaw",
                &[],
            )
            .map_err(|_| EngineError::Open(directory.clone()))?;
        let content_types = String::from_utf8_lossy(formats.as_ref())
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, content_type)| (name.to_owned(), content_type.to_owned()))
            .collect();
        Ok(Self {
            library,
            directory: directory.join("clickhouse").display().to_string(),
            threads: config.threads,
            query_memory_bytes_max: config.query_memory_bytes_max,
            reader_seconds_max: config.reader_seconds_max,
            marks: AtomicU64::new(MARK_FIRST),
            running: Mutex::default(),
            keeper: Mutex::new(Some(keeper)),
            version,
            timezone,
            host,
            content_types,
            _lock: lock,
        })
    }

    /// A fresh connection for one request or session. `reader` puts it under the read-only profile.
    pub(crate) fn connect(&self, mark: u64, query_id: &str, reader: bool) -> Result<Connection, Exception> {
        let mut arguments = vec![
            format!("--path={}", self.directory),
            // A bare word is a syntax error, as on a server, and not a SELECT of itself.
            "--implicit_select=0".to_owned(),
            format!("--max_threads={}", self.threads),
            format!("--max_memory_usage={}", self.query_memory_bytes_max),
            format!("--{MARK_SETTING}={mark}"),
            format!("--log_comment={query_id}"),
        ];
        if reader {
            arguments.push("--readonly=2".to_owned());
            arguments.push(format!("--max_execution_time={}", self.reader_seconds_max));
        }
        let refused = || Exception::new(code::CANNOT_SCHEDULE_TASK, "The engine opens no more connections");
        let mut connection = self.library.connect(&arguments).ok_or_else(refused)?;
        if reader {
            // For its constraints: the values of a profile do not reach a connection of the library.
            let set = format!("SET profile = '{READER_PROFILE}'");
            connection.query(set.as_bytes(), "TSV", &[]).map_err(|text| Exception::from_engine(&text))?;
        }
        Ok(connection)
    }

    /// Marks a session's connection for its next request. A reader's mark is fixed (it could fake another's),
    /// so its queries in sessions are not found; they end at their time limit.
    pub(crate) fn mark(&self, connection: &mut Connection, mark: u64, reader: bool) -> Result<(), Exception> {
        if reader {
            return Ok(());
        }
        let set = format!("SET {MARK_SETTING} = {mark}");
        connection.query(set.as_bytes(), "TSV", &[]).map(drop).map_err(|text| Exception::from_engine(&text))
    }

    /// Registers a request under its query id, until the returned value is dropped.
    pub(crate) fn register(&self, query_id: &str) -> Result<Running<'_>, Exception> {
        let mark = self.marks.fetch_add(1, Ordering::Relaxed);
        let mut running = lock(&self.running);
        if running.contains_key(query_id) {
            return Err(Exception::new(
                (216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING"),
                format_args!("Query with id = {query_id} is already running"),
            ));
        }
        running.insert(query_id.to_owned(), mark);
        Ok(Running { engine: self, query_id: query_id.to_owned(), mark })
    }

    /// Stops the query that runs under `mark`, if one does. Blocks for a few milliseconds.
    pub(crate) fn kill(&self, mark: u64) {
        let Some(mut connection) = self.library.connect(&[format!("--path={}", self.directory)]) else {
            return;
        };
        let kill = format!("KILL QUERY WHERE Settings['{MARK_SETTING}'] = '{mark}' ASYNC");
        if let Err(text) = connection.query(kill.as_bytes(), "TSV", &[]) {
            tracing::warn!(
                code = Exception::from_engine(&text).code,
                "a cancelled query could not be stopped"
            );
        }
    }

    /// The engine's own id of the query that a client named `query_id`.
    pub(crate) fn engine_query_id(&self, query_id: &str) -> Option<String> {
        let mark = *lock(&self.running).get(query_id)?;
        let mut connection = self.library.connect(&[format!("--path={}", self.directory)])?;
        let find =
            format!("SELECT query_id FROM system.processes WHERE Settings['{MARK_SETTING}'] = '{mark}'");
        let found = connection.query(find.as_bytes(), "TSVRaw", &[]).ok()?;
        String::from_utf8_lossy(found.as_ref()).lines().next().map(str::to_owned)
    }

    /// What HTTP calls a format's content.
    pub(crate) fn content_type(&self, format: &str) -> &str {
        let known = self.content_types.get(&format.to_ascii_lowercase()).map(String::as_str);
        known.unwrap_or("text/plain; charset=UTF-8")
    }

    /// Closes the last connection and joins the engine's threads: everything is on disk after it.
    /// False when a request still runs.
    pub(crate) fn close(&self) -> bool {
        lock(&self.keeper).take();
        self.library.shutdown()
    }
}

/// A request's entry among the running ones.
pub(crate) struct Running<'e> {
    engine: &'e Engine,
    query_id: String,
    pub(crate) mark: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.engine.running).remove(&self.query_id);
    }
}

/// A lock whose holder panicked guards nothing that could be half-changed here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Makes the data directory, takes its lock, repairs what a kill left half done, and writes the files that the
/// engine boots from.
fn prepare(config: &EngineConfig) -> Result<File, EngineError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| EngineError::Data { path, source }
    };
    let directory = &config.data_dir;
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let path = directory.join("lock");
    let lock = File::create(&path).map_err(failed(&path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(EngineError::Locked(directory.clone())),
        Err(fs::TryLockError::Error(source)) => return Err(EngineError::Data { path, source }),
    }
    let absolute = fs::canonicalize(directory).map_err(failed(directory))?;
    deduplication::forget_lost(&absolute.join("clickhouse/store"))?;
    for (name, text) in [("config.xml", server_xml(config, &absolute)), ("users.xml", users_xml(config))] {
        let path = directory.join(name);
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(lock)
}

/// Server settings. Caches are small and background threads few: it runs next to others on a small machine.
fn server_xml(config: &EngineConfig, directory: &Path) -> String {
    let users = xml_text(&directory.join("users.xml").display().to_string());
    let memory = config.memory_bytes_max;
    let threads = config.threads;
    let sync = u8::from(config.sync_inserts);
    format!(
        "<clickhouse>
<users_config>{users}</users_config>
<access_control_improvements><table_engines_require_grant>true</table_engines_require_grant></access_control_improvements>
<max_server_memory_usage>{memory}</max_server_memory_usage>
<mark_cache_size>67108864</mark_cache_size>
<uncompressed_cache_size>0</uncompressed_cache_size>
<index_mark_cache_size>0</index_mark_cache_size>
<primary_index_cache_size>67108864</primary_index_cache_size>
<query_condition_cache_size>16777216</query_condition_cache_size>
<compiled_expression_cache_size>33554432</compiled_expression_cache_size>
<background_pool_size>{threads}</background_pool_size>
<background_common_pool_size>2</background_common_pool_size>
<background_move_pool_size>1</background_move_pool_size>
<background_fetches_pool_size>1</background_fetches_pool_size>
<background_schedule_pool_size>4</background_schedule_pool_size>
<max_io_thread_pool_size>16</max_io_thread_pool_size>
<merge_tree><fsync_after_insert>{sync}</fsync_after_insert><fsync_part_directory>{sync}</fsync_part_directory></merge_tree>
</clickhouse>
"
    )
}

/// The one user, what it is granted, and the profile of readers.
///
/// Not granted, on purpose: every SOURCE (files, URLs, other databases), dictionaries (a source can be a
/// program), named collections, access management, and the SYSTEM statements that stop the process.
///
/// Readers are at `readonly = 2`, not 1: Grafana and clickhouse-connect send settings with each query, and 1
/// refuses any. What they may not loosen is constrained below.
fn users_xml(config: &EngineConfig) -> String {
    let seconds = config.reader_seconds_max;
    let memory = config.query_memory_bytes_max;
    let threads = config.threads;
    format!(
        "<clickhouse>
<profiles>
<default></default>
<{READER_PROFILE}>
<constraints>
<max_execution_time><min>0.001</min><max>{seconds}</max></max_execution_time>
<max_memory_usage><min>1</min><max>{memory}</max></max_memory_usage>
<max_threads><max>{threads}</max></max_threads>
<{MARK_SETTING}><const/></{MARK_SETTING}>
</constraints>
</{READER_PROFILE}>
</profiles>
<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
<grants><query>GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, \
         CREATE FUNCTION, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, SYSTEM MERGES, SYSTEM TTL MERGES, \
         SYSTEM FLUSH, SYSTEM DROP CACHE, SYSTEM SYNC REPLICA, dictGet, INTROSPECTION ON *.*</query></grants>
</default></users>
<quotas><default></default></quotas>
</clickhouse>
"
    )
}

fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
