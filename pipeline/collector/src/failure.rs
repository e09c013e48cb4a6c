//! What follows from a failure, whoever failed: the one place that decides. Nothing is ever dropped because of one.

use event_log::{AppendError, CommitError};
use thiserror::Error;
use warehouse::WarehouseError;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Passes by itself: the same again, after a while, for ever.
    Retry,
    /// The table may have changed under us: look at it, then the same again.
    RefreshSchema,
    /// Rows can't be stored in this table: find them.
    Poison,
    /// Needs a person. Nothing is stored or committed until it is mended; tried again slowly, so mending is enough.
    Fatal,
    /// The range is another's by now, who finishes it.
    Lost,
}

/// Why a range did not get further, this time.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("ClickHouse did not do it")]
    Warehouse(#[from] WarehouseError),
    #[error("the position was not committed")]
    Commit(#[from] CommitError),
    #[error("the topic of dead letters did not take them")]
    DeadLetters(#[from] AppendError),
    /// Going on would store events twice, or not at all: why.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// Who failed, for metric labels.
    pub(crate) const fn step(&self) -> &'static str {
        match self {
            Self::Warehouse(_) | Self::Refused(_) => "insert",
            Self::Commit(_) => "commit",
            Self::DeadLetters(_) => "dead_letters",
        }
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Warehouse(error) => Class::of(error),
            Self::Commit(CommitError::Fenced) => Class::Lost,
            Self::Commit(CommitError::Unavailable(_)) => Class::Retry,
            Self::DeadLetters(error) if error.is_retryable() => Class::Retry,
            Self::Commit(CommitError::Invalid(_) | CommitError::Broken(_))
            | Self::DeadLetters(_)
            | Self::Refused(_) => Class::Fatal,
        }
    }

    /// All of it in a line, for people who see no log.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

impl Class {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RefreshSchema => "refresh_schema",
            Self::Poison => "poison",
            Self::Fatal => "fatal",
            Self::Lost => "lost",
        }
    }

    /// Codes are ClickHouse's; those listed have proved right in practice. What is not listed needs a person to look.
    pub(crate) fn of(error: &WarehouseError) -> Self {
        match error {
            WarehouseError::Network(_) | WarehouseError::TimedOut => Self::Retry,
            // 501: what is asked for does not exist there.
            WarehouseError::Http { status: 501, .. } => Self::Fatal,
            // 0: an answer that says nothing; a proxy on the way up or down.
            WarehouseError::Http { status: 0 | 408 | 429 | 500..=599, .. } => Self::Retry,
            WarehouseError::Exception { code, .. } => Self::of_code(*code),
            _ => Self::Fatal,
        }
    }

    const fn of_code(code: u32) -> Self {
        match code {
            // Overload, quotas, memory, too many parts; restarts, a table or user that is read-only for a while; disks
            // that are full or don't write; replicas, Keeper and the servers of a cluster that are away. In the order of
            // the codes: unexpected end of file, can't write to file, bad data length, too slow, too slow reading,
            // read-only, DNS, too many queries, no free connection, socket timeout, network error, no Keeper, aborted,
            // memory, table read-only, no space, too many parts, all connections failed, too few replicas, two kinds of
            // quorum, unknown status, query cancelled, can't schedule, system error, Keeper, network library.
            3 | 75 | 107 | 159 | 160 | 164 | 198 | 202 | 203 | 209 | 210 | 225 | 236 | 241 | 242 | 243
            | 252 | 279 | 285 | 286 | 289 | 319 | 394 | 425 | 439 | 999 | 1000 => Self::Retry,
            // Can't read all data; too large string: the block was read with other columns than it was made for.
            33 | 131 => Self::RefreshSchema,
            // Type mismatch; incorrect data; violated constraint.
            53 | 117 | 469 => Self::Poison,
            // No such column (16), unknown table (60) or database (81), no session (404), unknown user (192), wrong
            // password (193, 194), access denied (497), authentication failed (516), …. Disk writes that need a look.
            _ => Self::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_class_of_their_code() {
        for (class, codes) in [
            // Those of the field notes, then those that only a cluster or a full disk gives.
            (Class::Retry, &[3u32, 107, 159, 164, 202, 203, 209, 210, 241, 242, 252, 285, 319, 425, 999][..]),
            (Class::Retry, &[75, 160, 198, 225, 236, 243, 279, 286, 289, 394, 439, 1000]),
            (Class::RefreshSchema, &[33, 131]),
            (Class::Poison, &[53, 117, 469]),
            (Class::Fatal, &[16, 60, 81, 192, 193, 194, 404, 497, 516, 0, 12345]),
        ] {
            for code in codes {
                let error = WarehouseError::Exception { code: *code, message: String::new() };
                assert_eq!(Failure::from(error).class(), class, "{code}");
            }
        }
        for (status, class) in [
            (0, Class::Retry),
            (408, Class::Retry),
            (429, Class::Retry),
            (500, Class::Retry),
            (503, Class::Retry),
            (501, Class::Fatal),
            (401, Class::Fatal),
            (403, Class::Fatal),
            (404, Class::Fatal),
        ] {
            let error = WarehouseError::Http { status, message: String::new() };
            assert_eq!(Class::of(&error), class, "{status}");
        }
        assert_eq!(Class::of(&WarehouseError::TimedOut), Class::Retry);
        assert_eq!(Class::of(&WarehouseError::Schema("no table".to_owned())), Class::Fatal);
    }

    #[test]
    fn the_log_s_errors_have_a_class_too() {
        let why = || "why".into();
        for (failure, step, class) in [
            (Failure::from(CommitError::Fenced), "commit", Class::Lost),
            (CommitError::Unavailable(why()).into(), "commit", Class::Retry),
            (CommitError::Invalid("no").into(), "commit", Class::Fatal),
            (CommitError::Broken(why()).into(), "commit", Class::Fatal),
            (AppendError::Unavailable(why()).into(), "dead_letters", Class::Retry),
            (AppendError::DiskFull(why()).into(), "dead_letters", Class::Retry),
            (AppendError::Broken(why()).into(), "dead_letters", Class::Fatal),
            (AppendError::TooLarge { bytes: 2, bytes_max: 1 }.into(), "dead_letters", Class::Fatal),
            (AppendError::Closed.into(), "dead_letters", Class::Fatal),
            (Failure::Refused("no".to_owned()), "insert", Class::Fatal),
        ] {
            assert_eq!((failure.step(), failure.class()), (step, class), "{failure}");
        }
        let failure = Failure::from(CommitError::Broken(why()));
        assert_eq!(failure.chain(), "the position was not committed: the event log is broken: why");
    }
}
