//! The errors of the seam: a variant for each decision a caller can take, whatever is behind it.
//! What exactly went wrong is in the source, for people.

use thiserror::Error;

/// The error of the implementation behind the seam.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a log can't be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Does not work now and may work later: unreachable, locked, no space.
    #[error("the event log is not available")]
    Unavailable(#[source] BoxError),
    /// Stays so until a person mends it: a missing right, another version's files, a topic of another shape.
    #[error("the event log can't be used")]
    Refused(#[source] BoxError),
}

/// Why an `append` call failed. Where a retry is allowed, nothing of it was taken.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The log holds as much unconsumed data as it may. Keep and retry later, or drop and count.
    #[error("the event log is full: {bytes} of {bytes_max} bytes")]
    Full {
        /// On disk now.
        bytes: u64,
        /// The configured limit.
        bytes_max: u64,
    },
    /// The disk has no space. As [`AppendError::Full`]; heals when there is space again.
    #[error("no space left for the event log")]
    DiskFull(#[source] BoxError),
    /// Does not work now and may work later: locked, unreachable, an I/O error, a read-only file system.
    /// Whether it was appended is not known in the rare case of a failing commit.
    #[error("the event log is not available")]
    Unavailable(#[source] BoxError),
    /// A payload is larger than the log takes. The same call never succeeds.
    #[error("a message of {bytes} bytes is larger than {bytes_max}")]
    TooLarge {
        /// Of the largest payload in the call.
        bytes: usize,
        /// [`PAYLOAD_BYTES_MAX`](crate::PAYLOAD_BYTES_MAX), or the broker's limit.
        bytes_max: usize,
    },
    /// The producer was closed. No later call succeeds.
    #[error("the event log is closed")]
    Closed,
    /// These may be in the log or not, and nobody can tell; the others of the call are in it. Never retry: a message
    /// that is there already would be there twice.
    #[error("it is not known whether {messages} messages of {events} events are in the event log")]
    InDoubt {
        /// Messages in doubt.
        messages: usize,
        /// Events in them.
        events: u64,
        /// What broke.
        #[source]
        source: BoxError,
    },
    /// Broken until a person mends it, e.g. a corrupt file. Don't retry; say so loudly.
    #[error("the event log is broken")]
    Broken(#[source] BoxError),
}

impl AppendError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::DiskFull(_) | Self::Unavailable(_))
    }

    /// Stable name, for metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
            Self::DiskFull(_) => "disk_full",
            Self::Unavailable(_) => "unavailable",
            Self::TooLarge { .. } => "too_large",
            Self::Closed => "closed",
            Self::InDoubt { .. } => "in_doubt",
            Self::Broken(_) => "broken",
        }
    }
}

/// Why nothing could be read.
#[derive(Debug, Error)]
pub enum ConsumeError {
    /// A newer consumer of the same group took over. This one must stop and drop what it holds.
    #[error("a newer consumer of this group took over")]
    Fenced,
    /// Does not work now and may work later. Retry with backoff; nothing was skipped.
    #[error("the event log is not available")]
    Unavailable(#[source] BoxError),
    /// Broken until a person mends it. Stop and page; nothing was skipped.
    #[error("the event log is broken")]
    Broken(#[source] BoxError),
}

/// Why a position was not committed. The committed one is unchanged.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The partition belongs to another consumer by now. Drop what is held of it; its owner repeats the work.
    #[error("the partition belongs to another consumer by now")]
    Fenced,
    /// Does not work now and may work later. Retry with backoff; committing the same position twice is fine.
    #[error("the event log is not available")]
    Unavailable(#[source] BoxError),
    /// The position makes no sense: a bug in the consumer. Never succeeds.
    #[error("position refused: {0}")]
    Invalid(&'static str),
    /// Broken until a person mends it. Stop and page.
    #[error("the event log is broken")]
    Broken(#[source] BoxError),
}
