//! What is known of each field apart from its value: type, unit, privacy class, OpenTelemetry name, words.
//!
//! The `registry!` table in [`crate::event`] is the only place where a field is declared; the Rust struct, the
//! JSON, the ClickHouse columns with their comments and the field reference all come from it. This module
//! deliberately holds no list of fields.

/// The shape of a field's values, and with it its ClickHouse column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wall-clock time in microseconds; RFC 3339 in JSON.
    Time,
    /// An unsigned number of 64 bits.
    U64,
    /// An unsigned number of 32 bits.
    U32,
    /// An unsigned number of 16 bits.
    U16,
    /// An unsigned number of 8 bits.
    U8,
    /// True or false.
    Flag,
    /// A string with few distinct values: dictionary-encoded in ClickHouse.
    Symbol,
    /// A string with many distinct values.
    Text,
    /// 16 bytes, lower-case hex in JSON and ClickHouse.
    Trace,
    /// 8 bytes, lower-case hex in JSON and ClickHouse.
    Span,
    /// A 64-bit hash: hex in JSON (JSON numbers hold 53 bits), a number in ClickHouse.
    Hash,
}

impl Kind {
    /// The ClickHouse type, without codec.
    #[must_use]
    pub const fn column_type(self) -> &'static str {
        match self {
            Self::Time => "DateTime64(6, 'UTC')",
            Self::U64 | Self::Hash => "UInt64",
            Self::U32 => "UInt32",
            Self::U16 => "UInt16",
            Self::U8 => "UInt8",
            Self::Flag => "Bool",
            Self::Symbol => "LowCardinality(String)",
            Self::Text | Self::Trace | Self::Span => "String",
        }
    }

    /// The ClickHouse codec that suits the kind, empty for the server's default.
    ///
    /// Times and sequence numbers grow slowly from row to row, so their differences pack well.
    #[must_use]
    pub const fn codec(self) -> &'static str {
        match self {
            Self::Time => "CODEC(Delta, ZSTD(1))",
            Self::U64 | Self::U32 | Self::U16 | Self::U8 => "CODEC(T64, ZSTD(1))",
            Self::Text | Self::Trace | Self::Span | Self::Hash => "CODEC(ZSTD(1))",
            Self::Flag | Self::Symbol => "",
        }
    }
}

/// How much a value says about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Says nothing about who made the request.
    Public,
    /// Cut down until it no longer singles out a person: networks, hosts, families of browsers.
    Coarse,
    /// Tells visitors apart within a day, and can't be linked to a person or to another day.
    Pseudonym,
    /// Free text that a caller or an error supplied: bounded, and not shown to the public.
    Free,
}

impl Privacy {
    /// The class's name in the field reference.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Coarse => "coarse",
            Self::Pseudonym => "pseudonym",
            Self::Free => "free text",
        }
    }
}

/// One field of the event.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The name, the same in Rust, JSON and ClickHouse.
    pub name: &'static str,
    /// The shape of its values.
    pub kind: Kind,
    /// Whether an event without it is refused.
    pub required: bool,
    /// UCUM-like unit (`us`, `By`, `1`), empty where a unit makes no sense.
    pub unit: &'static str,
    /// How much it says about a person.
    pub privacy: Privacy,
    /// The attribute's name in OpenTelemetry's semantic conventions, or `hoplog.…` where they have none.
    pub otel: &'static str,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
}
