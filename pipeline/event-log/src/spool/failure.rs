//! Classifies what SQLite and the file system answer into what a caller can do about it. The only place that
//! knows SQLite's result codes.

use std::sync::Arc;

use thiserror::Error;

use crate::{AppendError, BoxError, CommitError, ConsumeError};

/// Why a spool could not be opened or created.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A newer hoplog wrote it. Run that one; nothing was changed.
    #[error("the spool has schema version {found}; this hoplog knows versions up to {supported}")]
    Newer {
        /// In the file.
        found: i64,
        /// Highest one known here.
        supported: i64,
    },
    /// The file is a database, but not a spool. Nothing was changed.
    #[error("not a hoplog spool")]
    Foreign,
    /// There is none, and none was to be created.
    #[error("there is no spool at this path")]
    Missing,
    /// No space left to create it. May work later.
    #[error("no space left for the spool")]
    DiskFull(#[source] BoxError),
    /// Locked, a missing permission, a read-only file system, an I/O error. May work later.
    #[error("the spool cannot be opened")]
    Unavailable(#[source] BoxError),
    /// Corrupt. Stays so until a person mends it.
    #[error("the spool is broken")]
    Broken(#[source] BoxError),
}

/// A failed operation on an open spool; shared, because all calls of a group commit fail together.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    DiskFull(Arc<dyn std::error::Error + Send + Sync>),
    Unavailable(Arc<dyn std::error::Error + Send + Sync>),
    Broken(Arc<dyn std::error::Error + Send + Sync>),
}

/// Something that the spool's own rules forbid was found in its files.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Inconsistent(pub(super) String);

#[derive(Clone, Copy)]
enum Class {
    DiskFull,
    Unavailable,
    Broken,
}

/// <https://www.sqlite.org/rescode.html>; extended codes carry the primary one in their low byte.
fn classify(error: &sqlx::Error) -> Class {
    let sqlx::Error::Database(database) = error else {
        return match error {
            // The connection or its thread is gone, or the file system refused: a new connection may do.
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => Class::Unavailable,
            _ => Class::Broken,
        };
    };
    match database.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
        Some(13) => Class::DiskFull,
        // PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CANTOPEN, PROTOCOL, AUTH
        Some(3 | 5 | 6 | 7 | 8 | 9 | 10 | 14 | 15 | 23) => Class::Unavailable,
        // CORRUPT, NOTADB; and what only a damaged schema or an error of ours can cause.
        _ => Class::Broken,
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Class::DiskFull => Self::DiskFull(Arc::new(error)),
            Class::Unavailable => Self::Unavailable(Arc::new(error)),
            Class::Broken => Self::Broken(Arc::new(error)),
        }
    }
}

/// Of lock files.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        OpenError::from(error).into()
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::DiskFull(source) => Self::DiskFull(source.into()),
            OpenError::Unavailable(source) => Self::Unavailable(source.into()),
            OpenError::Broken(source) => Self::Broken(source.into()),
            other @ OpenError::Missing => Self::Unavailable(Arc::new(other)),
            other => Self::Broken(Arc::new(other)),
        }
    }
}

impl From<OpenError> for crate::OpenError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::DiskFull(_) | OpenError::Unavailable(_) | OpenError::Missing => {
                Self::Unavailable(error.into())
            }
            OpenError::Newer { .. } | OpenError::Foreign | OpenError::Broken(_) => {
                Self::Refused(error.into())
            }
        }
    }
}

impl From<Inconsistent> for Failure {
    fn from(error: Inconsistent) -> Self {
        Self::Broken(Arc::new(error))
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Class::DiskFull => Self::DiskFull(error.into()),
            Class::Unavailable => Self::Unavailable(error.into()),
            Class::Broken => Self::Broken(error.into()),
        }
    }
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull(error.into())
            }
            _ => Self::Unavailable(error.into()),
        }
    }
}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::DiskFull(source) => Self::DiskFull(Box::new(source)),
            Failure::Unavailable(source) => Self::Unavailable(Box::new(source)),
            Failure::Broken(source) => Self::Broken(Box::new(source)),
        }
    }
}

impl From<Failure> for ConsumeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::DiskFull(source) | Failure::Unavailable(source) => Self::Unavailable(Box::new(source)),
            Failure::Broken(source) => Self::Broken(Box::new(source)),
        }
    }
}

impl From<Failure> for CommitError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::DiskFull(source) | Failure::Unavailable(source) => Self::Unavailable(Box::new(source)),
            Failure::Broken(source) => Self::Broken(Box::new(source)),
        }
    }
}
