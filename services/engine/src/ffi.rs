//! The C interface of libchdb, loaded at run time, behind safe types. The only unsafe code of the project.
//!
//! What was measured and read (library 26.7.3, header of chdb-io/chdb-core) and what the rest builds on:
//!
//! * A process opens ONE data path. The first connection boots the engine and reads the server options
//!   (`--path`, `--config-file`); the last one closed stops it. Later connections cost 0.06 ms.
//! * Connections run at the same time on any thread; a connection runs one statement at a time, behind a
//!   mutex of its own. So nothing here is `Sync` but the library, and each call takes `&mut`.
//! * A streamed result comes in blocks of 65,409 rows, each a complete document in its format: with
//!   header, footer, everything. An empty block is the end. Only `SELECT`-like statements stream.
//! * A streamed insert takes bytes in any format, blocks while the engine is behind, and commits a block
//!   whenever one is full; the rest at `done`. It refuses `INSERT … SELECT`.
//! * Fetching holds the connection's mutex, so the cancel function cannot interrupt a running block. What
//!   does is `KILL QUERY` from another connection.
//! * The user is always `default`. A failed connect returns NULL and no reason.
//!
//! It knows nothing of HTTP or of SQL.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

/// Why the library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("no engine library at {0}; `cargo xtask up` fetches it, or name one with `library`")]
    Missing(PathBuf),
    /// The file is there but is no library for this machine, or lacks a function.
    #[error("{path} is not a usable libchdb; remove it, and `cargo xtask up` fetches it again")]
    Unusable {
        /// The file that was tried.
        path: PathBuf,
        /// What the dynamic loader says.
        source: libloading::Error,
    },
}

type Raw = *mut c_void;

macro_rules! functions {
    ($($field:ident: $symbol:literal fn($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        struct Functions { $($field: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)* }
        impl Functions {
            fn load(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: each signature is copied from chdb.h of the same version; the pointers stay
                // valid because `Library::load` leaks the library.
                unsafe { Ok(Self { $($field: *library.get($symbol)?,)* }) }
            }
        }
    };
}

functions! {
    version: b"chdb_version\0" fn() -> *const c_char;
    signal_handlers: b"chdb_set_signal_handlers_enabled\0" fn(c_int);
    connect: b"chdb_connect\0" fn(c_int, *mut *mut c_char) -> *mut Raw;
    close: b"chdb_close_conn\0" fn(*mut Raw);
    shutdown: b"chdb_shutdown\0" fn() -> c_int;
    classify: b"chdb_classify_query_n\0" fn(Raw, *const u8, usize, *const u8, usize, *mut Analysis) -> c_int;
    query: b"chdb_query_with_params_n\0" fn(Raw, *const u8, usize, *const u8, usize, *const *const u8, *const usize, *const *const u8, *const usize, usize) -> Raw;
    stream_query: b"chdb_stream_query_with_params_n\0" fn(Raw, *const u8, usize, *const u8, usize, *const *const u8, *const usize, *const *const u8, *const usize, usize) -> Raw;
    stream_fetch: b"chdb_stream_fetch_result\0" fn(Raw, Raw) -> Raw;
    stream_cancel: b"chdb_stream_cancel_query\0" fn(Raw, Raw);
    insert: b"chdb_stream_insert_with_params_n\0" fn(Raw, *const u8, usize, *const u8, usize, *const *const u8, *const usize, *const *const u8, *const usize, usize) -> Raw;
    insert_append: b"chdb_stream_append\0" fn(Raw, *const u8, usize) -> c_int;
    insert_done: b"chdb_stream_done\0" fn(Raw) -> Raw;
    insert_cancel: b"chdb_stream_cancel_insert\0" fn(Raw);
    insert_error: b"chdb_stream_insert_error\0" fn(Raw) -> *const c_char;
    insert_destroy: b"chdb_destroy_insert_stream\0" fn(Raw);
    result_buffer: b"chdb_result_buffer\0" fn(Raw) -> *const u8;
    result_length: b"chdb_result_length\0" fn(Raw) -> usize;
    result_rows: b"chdb_result_rows_read\0" fn(Raw) -> u64;
    result_rows_read: b"chdb_result_storage_rows_read\0" fn(Raw) -> u64;
    result_bytes_read: b"chdb_result_storage_bytes_read\0" fn(Raw) -> u64;
    result_rows_written: b"chdb_result_rows_written\0" fn(Raw) -> u64;
    result_bytes_written: b"chdb_result_bytes_written\0" fn(Raw) -> u64;
    result_error: b"chdb_result_error\0" fn(Raw) -> *const c_char;
    result_destroy: b"chdb_destroy_query_result\0" fn(Raw);
}

/// `chdb_query_analysis_v1`; its size goes in, the rest comes out.
#[repr(C)]
struct Analysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

/// What a statement does, by the engine's own parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Leaves no trace: `SELECT`, `SHOW`, `DESCRIBE`, `EXPLAIN`, `EXISTS`.
    ReadOnly,
    /// Changes data or schema.
    Mutating,
    /// `SET`, `USE`, `SYSTEM`, `KILL`, temporary tables, writes outside the engine.
    Control,
    /// Does not parse.
    Unknown,
}

/// libchdb in this process: loaded once and never unloaded, because its threads outlive any handle.
pub(crate) struct Library {
    functions: Functions,
}

impl Library {
    /// Loads the library and keeps the process's signal handlers ours.
    pub(crate) fn load(path: &Path) -> Result<&'static Self, LoadError> {
        if !path.is_file() {
            return Err(LoadError::Missing(path.to_owned()));
        }
        let unusable = |source| LoadError::Unusable { path: path.to_owned(), source };
        // SAFETY: running a library's initialisers is what loading is for; the file is the pinned,
        // digest-checked libchdb. It stays loaded for the life of the process (leaked below).
        let library = unsafe { libloading::Library::new(path) }.map_err(unusable)?;
        let functions = Functions::load(&library).map_err(unusable)?;
        std::mem::forget(library);
        // SAFETY: takes a plain integer; documented to be called before the first connect.
        unsafe { (functions.signal_handlers)(0) };
        Ok(Box::leak(Box::new(Self { functions })))
    }

    /// The library's own version, such as `26.7.3`.
    pub(crate) fn version(&self) -> String {
        // SAFETY: returns a static NUL-terminated string.
        unsafe { CStr::from_ptr((self.functions.version)()) }.to_string_lossy().into_owned()
    }

    /// Opens a connection; `None` when the engine refuses (it does not say why) or an argument holds NUL.
    pub(crate) fn connect(&'static self, arguments: &[String]) -> Option<Connection> {
        let mut owned = vec![CString::from(c"hoplog-engine")];
        for argument in arguments {
            owned.push(CString::new(argument.as_str()).ok()?);
        }
        let mut pointers: Vec<*mut c_char> = owned.iter().map(|a| a.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len()).ok()?;
        // SAFETY: `count` NUL-terminated strings, alive until the call returns; the library copies them.
        let handle = unsafe { (self.functions.connect)(count, pointers.as_mut_ptr()) };
        // SAFETY: a non-null handle points to the connection, per the header.
        let raw = NonNull::new(handle).map(|h| unsafe { *h.as_ptr() })?;
        (!raw.is_null()).then_some(Connection { library: self, handle, raw })
    }

    /// Joins every thread of the engine; false while a connection is open. No connect works after it.
    pub(crate) fn shutdown(&self) -> bool {
        // SAFETY: takes nothing, and checks for open connections itself.
        unsafe { (self.functions.shutdown)() == 0 }
    }
}

/// One connection: a session with its own settings, current database and temporary tables.
pub(crate) struct Connection {
    library: &'static Library,
    handle: *mut Raw,
    raw: Raw,
}

// SAFETY: the library lets any thread use a connection, one at a time; `&mut self` everywhere keeps it so.
unsafe impl Send for Connection {}

/// Named values for `{name:Type}` placeholders, in the form the C interface wants.
struct Parameters {
    names: Vec<*const u8>,
    name_lengths: Vec<usize>,
    values: Vec<*const u8>,
    value_lengths: Vec<usize>,
}

impl Parameters {
    fn new(parameters: &[(String, String)]) -> Self {
        Self {
            names: parameters.iter().map(|p| p.0.as_ptr()).collect(),
            name_lengths: parameters.iter().map(|p| p.0.len()).collect(),
            values: parameters.iter().map(|p| p.1.as_ptr()).collect(),
            value_lengths: parameters.iter().map(|p| p.1.len()).collect(),
        }
    }
}

impl Connection {
    /// How many statements the text holds and what they do. Nothing is run.
    pub(crate) fn classify(&mut self, sql: &[u8]) -> (u32, Class) {
        let mut analysis = Analysis { struct_size: 16, statement_count: 0, flags: 0, query_class: 4 };
        // SAFETY: pointer and length of one slice; no target database; the struct's size is in it.
        let state = unsafe {
            let classify = self.library.functions.classify;
            classify(self.raw, sql.as_ptr(), sql.len(), std::ptr::null(), 0, &raw mut analysis)
        };
        let class = match (state, analysis.query_class) {
            (0, 0) => Class::ReadOnly,
            (0, 1 | 2) => Class::Mutating,
            (0, 3) => Class::Control,
            _ => Class::Unknown,
        };
        (analysis.statement_count, class)
    }

    /// Runs one statement to its end; the whole result is in memory.
    pub(crate) fn query(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[(String, String)],
    ) -> Result<Answer, String> {
        let p = Parameters::new(parameters);
        // SAFETY: each pointer goes with its length, all alive until the call returns.
        let raw = unsafe {
            (self.library.functions.query)(
                self.raw,
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                p.names.as_ptr(),
                p.name_lengths.as_ptr(),
                p.values.as_ptr(),
                p.value_lengths.as_ptr(),
                p.names.len(),
            )
        };
        Answer::new(self.library, raw)
    }

    /// Starts a query whose result is fetched block by block.
    pub(crate) fn stream(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[(String, String)],
    ) -> Result<Blocks<'_>, String> {
        let p = Parameters::new(parameters);
        // SAFETY: as in `query`.
        let raw = unsafe {
            (self.library.functions.stream_query)(
                self.raw,
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                p.names.as_ptr(),
                p.name_lengths.as_ptr(),
                p.values.as_ptr(),
                p.value_lengths.as_ptr(),
                p.names.len(),
            )
        };
        let result = Answer::new(self.library, raw)?;
        Ok(Blocks { connection: self, result, ended: false })
    }

    /// Starts an insert (`sql` without its `FORMAT`) that is then fed bytes in `format`.
    pub(crate) fn insert(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[(String, String)],
    ) -> Result<Insert<'_>, String> {
        let p = Parameters::new(parameters);
        // SAFETY: as in `query`.
        let raw = unsafe {
            (self.library.functions.insert)(
                self.raw,
                sql.as_ptr(),
                sql.len(),
                format.as_ptr(),
                format.len(),
                p.names.as_ptr(),
                p.name_lengths.as_ptr(),
                p.values.as_ptr(),
                p.value_lengths.as_ptr(),
                p.names.len(),
            )
        };
        let insert = Insert { connection: self, raw, open: true };
        match insert.error() {
            Some(error) => Err(error),
            None => Ok(insert),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the handle came from connect and is closed once; no stream borrows it any more.
        unsafe { (self.library.functions.close)(self.handle) };
    }
}

/// What one call did, in rows and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) rows_read: u64,
    pub(crate) bytes_read: u64,
    pub(crate) rows_written: u64,
    pub(crate) bytes_written: u64,
    pub(crate) rows_result: u64,
    pub(crate) bytes_result: u64,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.rows_read += other.rows_read;
        self.bytes_read += other.bytes_read;
        self.rows_written += other.rows_written;
        self.bytes_written += other.bytes_written;
        self.rows_result += other.rows_result;
        self.bytes_result += other.bytes_result;
    }
}

/// A result in the library's memory, freed on drop; its bytes are handed on without a copy.
pub(crate) struct Answer {
    library: &'static Library,
    raw: Raw,
}

// SAFETY: a result is plain memory, independent of its connection, and read-only until destroyed.
unsafe impl Send for Answer {}

impl Answer {
    fn new(library: &'static Library, raw: Raw) -> Result<Self, String> {
        if raw.is_null() {
            return Err("Code: 1001. DB::Exception: the engine gave no result. (STD_EXCEPTION)".into());
        }
        let answer = Self { library, raw };
        // SAFETY: a live result; the text is NUL-terminated or NULL and lives as long as the result.
        match unsafe { text((library.functions.result_error)(raw)) } {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Rows and bytes of this result.
    pub(crate) fn progress(&self) -> Progress {
        let f = &self.library.functions;
        // SAFETY: plain getters on a live result.
        unsafe {
            Progress {
                rows_read: (f.result_rows_read)(self.raw),
                bytes_read: (f.result_bytes_read)(self.raw),
                rows_written: (f.result_rows_written)(self.raw),
                bytes_written: (f.result_bytes_written)(self.raw),
                rows_result: (f.result_rows)(self.raw),
                bytes_result: (f.result_length)(self.raw) as u64,
            }
        }
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        let f = &self.library.functions;
        // SAFETY: buffer and length belong together and live as long as the result; NULL means empty.
        unsafe {
            let buffer = (f.result_buffer)(self.raw);
            if buffer.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(buffer, (f.result_length)(self.raw))
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once.
        unsafe { (self.library.functions.result_destroy)(self.raw) };
    }
}

/// The blocks of a running query. Dropped early, it cancels the query.
pub(crate) struct Blocks<'c> {
    connection: &'c mut Connection,
    result: Answer,
    ended: bool,
}

impl Blocks<'_> {
    /// The next block, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Answer>, String> {
        if self.ended {
            return Ok(None);
        }
        let fetch = self.connection.library.functions.stream_fetch;
        // SAFETY: a live connection and its live stream, and `&mut self` serialises the fetches.
        let raw = unsafe { fetch(self.connection.raw, self.result.raw) };
        let block = Answer::new(self.connection.library, raw).inspect_err(|_| self.ended = true)?;
        self.ended = block.as_ref().is_empty();
        Ok((!self.ended).then_some(block))
    }
}

impl Drop for Blocks<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: as in `next`.
            unsafe {
                (self.connection.library.functions.stream_cancel)(self.connection.raw, self.result.raw)
            };
        }
    }
}

/// A running insert. Dropped before `done`, it is aborted.
pub(crate) struct Insert<'c> {
    connection: &'c mut Connection,
    raw: Raw,
    open: bool,
}

impl Insert<'_> {
    fn error(&self) -> Option<String> {
        // SAFETY: a live insert handle (never NULL); the text is NUL-terminated or NULL.
        unsafe { text((self.connection.library.functions.insert_error)(self.raw)) }
    }

    /// Hands over a chunk; blocks while the engine is behind. False: it has failed, `done` says how.
    pub(crate) fn append(&mut self, data: &[u8]) -> bool {
        // SAFETY: pointer and length of one slice, copied by the library.
        unsafe { (self.connection.library.functions.insert_append)(self.raw, data.as_ptr(), data.len()) == 0 }
    }

    /// Ends the input and commits it.
    pub(crate) fn done(mut self) -> Result<Progress, String> {
        self.open = false;
        // SAFETY: a live insert handle, ended once.
        let raw = unsafe { (self.connection.library.functions.insert_done)(self.raw) };
        Answer::new(self.connection.library, raw).map(|answer| answer.progress())
    }
}

impl Drop for Insert<'_> {
    fn drop(&mut self) {
        let f = &self.connection.library.functions;
        // SAFETY: cancelled only while open; destroyed once, as the header asks for every handle.
        unsafe {
            if self.open {
                (f.insert_cancel)(self.raw);
            }
            (f.insert_destroy)(self.raw);
        }
    }
}

/// # Safety
/// `pointer` is NULL or a NUL-terminated string that outlives the call.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}
