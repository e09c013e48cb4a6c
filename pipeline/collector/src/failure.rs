//! What follows from a failed insert: the one place that decides. Nothing is ever dropped because of one.

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
}

impl Class {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RefreshSchema => "refresh_schema",
            Self::Poison => "poison",
            Self::Fatal => "fatal",
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
            WarehouseError::Http { .. }
            | WarehouseError::Unexpected(_)
            | WarehouseError::Schema(_)
            | WarehouseError::Block { .. } => Self::Fatal,
        }
    }

    const fn of_code(code: u32) -> Self {
        match code {
            // Unexpected end of file, bad data length, too slow, read-only for a while, too many queries, …: overload,
            // restarts, quotas, memory, parts, disks, replicas, Keeper.
            3 | 107 | 159 | 160 | 164 | 202 | 203 | 209 | 210 | 236 | 241 | 242 | 243 | 252 | 285 | 319
            | 394 | 425 | 439 | 999 => Self::Retry,
            // Can't read all data; too large string: the block was read with other columns than it was made for.
            33 | 131 => Self::RefreshSchema,
            // Type mismatch; incorrect data; violated constraint.
            53 | 117 | 469 => Self::Poison,
            // No such column, unknown table, unknown database, access denied, authentication, ….
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
            (Class::Retry, &[3u32, 107, 159, 164, 202, 203, 209, 210, 241, 242, 252, 285, 319, 425, 999][..]),
            (Class::RefreshSchema, &[33, 131]),
            (Class::Poison, &[53, 117, 469]),
            (Class::Fatal, &[16, 60, 81, 404, 516, 497, 0, 12345]),
        ] {
            for code in codes {
                let error = WarehouseError::Exception { code: *code, message: String::new() };
                assert_eq!(Class::of(&error), class, "{code}");
            }
        }
        for (status, class) in [
            (0, Class::Retry),
            (408, Class::Retry),
            (429, Class::Retry),
            (503, Class::Retry),
            (501, Class::Fatal),
            (401, Class::Fatal),
        ] {
            assert_eq!(
                Class::of(&WarehouseError::Http { status, message: String::new() }),
                class,
                "{status}"
            );
        }
        assert_eq!(Class::of(&WarehouseError::TimedOut), Class::Retry);
    }
}
