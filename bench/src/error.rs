//! Why a load run could not be made at all. What goes wrong with one request is an outcome in the report instead.

use std::path::PathBuf;

/// A decision for the caller each: fix the workload, the log, the target, or the machine.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The workload is not usable; each entry is a field and what is wrong with it.
    #[error("the workload is not usable: {}", .0.iter().map(|(field, what)| format!("{field}: {what}")).collect::<Vec<_>>().join("; "))]
    Workload(Vec<(&'static str, String)>),
    /// The workload file is no TOML that we understand.
    #[error("the workload file cannot be parsed")]
    WorkloadSyntax(#[from] toml::de::Error),
    /// The target is not `http://host[:port]`.
    #[error("the target has to look like http://127.0.0.1:8080: {0}")]
    Target(String),
    /// A file cannot be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The service cannot be reached, or hangs up while links are created.
    #[error("links cannot be created at {address}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The service refuses to create a link.
    #[error("the service refused to create a link: status {status}: {body}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// There is nothing to replay.
    #[error("the log holds no request that can be replayed ({malformed} malformed lines)")]
    EmptyLog {
        /// Lines that are not in combined format.
        malformed: u64,
    },
}
