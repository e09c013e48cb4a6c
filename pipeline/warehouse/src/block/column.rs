//! The column types and how each is written. Numbers are little-endian, one after the other.
//! Strings, symbols and what is made of other columns have modules of their own.

use std::borrow::Cow;
use std::ops::Range;

use super::{ArrayColumn, MapColumn, SymbolColumn, TextColumn};

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// `UInt8`.
    U8(Vec<u8>),
    /// `UInt16`.
    U16(Vec<u16>),
    /// `UInt32`.
    U32(Vec<u32>),
    /// `UInt64`.
    U64(Vec<u64>),
    /// `Float64`.
    F64(Vec<f64>),
    /// `Bool`.
    Flag(Vec<bool>),
    /// `Date`: days since 1970-01-01.
    Day(Vec<u16>),
    /// `DateTime('UTC')`: seconds since 1970-01-01.
    Seconds(Vec<u32>),
    /// `DateTime64(6, 'UTC')`: microseconds since 1970-01-01.
    Time(Vec<i64>),
    /// `DateTime64(9, 'UTC')`: nanoseconds since 1970-01-01.
    Nanos(Vec<i64>),
    /// `String`: any bytes.
    Text(TextColumn),
    /// `LowCardinality(String)`.
    Symbol(SymbolColumn),
    /// `Array(UInt64)`.
    List(ListColumn),
    /// `Map(UInt32, UInt64)`.
    Counts(CountsColumn),
    /// `Map(String, String)`.
    Map(MapColumn),
    /// `Array(…)` of another type.
    Array(Box<ArrayColumn>),
}

/// Lists of numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListColumn {
    /// Where each row's list ends.
    ends: Vec<u64>,
    values: Vec<u64>,
}

impl ListColumn {
    /// Adds a row.
    pub fn push(&mut self, values: impl IntoIterator<Item = u64>) {
        self.values.extend(values);
        self.ends.push(self.values.len() as u64);
    }

    fn slice(&self, rows: Range<usize>) -> Self {
        let (ends, items) = slice_ends(&self.ends, rows);
        Self { ends, values: self.values[items].to_vec() }
    }
}

/// Maps from number to number: histograms, where only the buckets in use are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountsColumn {
    ends: Vec<u64>,
    keys: Vec<u32>,
    counts: Vec<u64>,
}

impl CountsColumn {
    /// Adds a row.
    pub fn push(&mut self, counts: impl IntoIterator<Item = (u32, u64)>) {
        for (key, count) in counts {
            self.keys.push(key);
            self.counts.push(count);
        }
        self.ends.push(self.keys.len() as u64);
    }

    fn slice(&self, rows: Range<usize>) -> Self {
        let (ends, items) = slice_ends(&self.ends, rows);
        Self { ends, keys: self.keys[items.clone()].to_vec(), counts: self.counts[items].to_vec() }
    }
}

/// The ends of some rows, moved to start from 0, and where their items are.
#[allow(clippy::cast_possible_truncation)] // they were lengths of vectors
pub(super) fn slice_ends(ends: &[u64], rows: Range<usize>) -> (Vec<u64>, Range<usize>) {
    let start = if rows.start == 0 { 0 } else { ends[rows.start - 1] };
    let end = if rows.end == 0 { 0 } else { ends[rows.end - 1] };
    (ends[rows].iter().map(|end| end - start).collect(), start as usize..end as usize)
}

impl Column {
    /// Number of rows.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // nobody asks
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) | Self::Day(values) => values.len(),
            Self::U32(values) | Self::Seconds(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Flag(values) => values.len(),
            Self::Time(values) | Self::Nanos(values) => values.len(),
            Self::Text(text) => text.len(),
            Self::Symbol(symbols) => symbols.len(),
            Self::List(lists) => lists.ends.len(),
            Self::Counts(maps) => maps.ends.len(),
            Self::Map(maps) => maps.len(),
            Self::Array(arrays) => arrays.len(),
        }
    }

    /// ClickHouse's name of the type.
    #[must_use]
    pub fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::U8(_) => "UInt8",
            Self::U16(_) => "UInt16",
            Self::U32(_) => "UInt32",
            Self::U64(_) => "UInt64",
            Self::F64(_) => "Float64",
            Self::Flag(_) => "Bool",
            Self::Day(_) => "Date",
            Self::Seconds(_) => "DateTime('UTC')",
            Self::Time(_) => "DateTime64(6, 'UTC')",
            Self::Text(_) => "String",
            Self::Symbol(_) => "LowCardinality(String)",
            Self::List(_) => "Array(UInt64)",
            Self::Counts(_) => "Map(UInt32, UInt64)",
            Self::Nanos(_) => "DateTime64(9, 'UTC')",
            Self::Map(_) => "Map(String, String)",
            Self::Array(arrays) => return Cow::Owned(arrays.type_name()),
        })
    }

    /// Some of the rows.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        match self {
            Self::U8(values) => Self::U8(values[rows].to_vec()),
            Self::U16(values) => Self::U16(values[rows].to_vec()),
            Self::U32(values) => Self::U32(values[rows].to_vec()),
            Self::U64(values) => Self::U64(values[rows].to_vec()),
            Self::F64(values) => Self::F64(values[rows].to_vec()),
            Self::Flag(values) => Self::Flag(values[rows].to_vec()),
            Self::Day(values) => Self::Day(values[rows].to_vec()),
            Self::Seconds(values) => Self::Seconds(values[rows].to_vec()),
            Self::Time(values) => Self::Time(values[rows].to_vec()),
            Self::Text(text) => Self::Text(text.slice(rows)),
            Self::Symbol(symbols) => Self::Symbol(symbols.slice(rows)),
            Self::List(lists) => Self::List(lists.slice(rows)),
            Self::Counts(maps) => Self::Counts(maps.slice(rows)),
            Self::Nanos(values) => Self::Nanos(values[rows].to_vec()),
            Self::Map(maps) => Self::Map(maps.slice(rows)),
            Self::Array(arrays) => Self::Array(Box::new(arrays.slice(rows))),
        }
    }

    /// About how many bytes the values take on the wire.
    pub(super) fn encoded_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.encoded_bytes(),
            Self::Symbol(symbols) => symbols.encoded_bytes(),
            Self::List(lists) => 8 * (lists.ends.len() + lists.values.len()),
            Self::Counts(maps) => 8 * maps.ends.len() + 12 * maps.keys.len(),
            Self::Map(maps) => maps.encoded_bytes(),
            Self::Array(arrays) => arrays.encoded_bytes(),
            numbers => 8 * numbers.len(),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(values) => out.extend_from_slice(values),
            Self::U16(values) | Self::Day(values) => put_all(out, values, |value| value.to_le_bytes()),
            Self::U32(values) | Self::Seconds(values) => put_all(out, values, |value| value.to_le_bytes()),
            Self::U64(values) => put_all(out, values, |value| value.to_le_bytes()),
            Self::F64(values) => put_all(out, values, |value| value.to_le_bytes()),
            Self::Flag(values) => put_all(out, values, |value| [u8::from(value)]),
            Self::Time(values) | Self::Nanos(values) => put_all(out, values, |value| value.to_le_bytes()),
            Self::Text(text) => text.encode(out),
            Self::Symbol(symbols) => symbols.encode(out),
            Self::List(lists) => {
                put_all(out, &lists.ends, |end| end.to_le_bytes());
                put_all(out, &lists.values, |value| value.to_le_bytes());
            }
            Self::Counts(maps) => {
                put_all(out, &maps.ends, |end| end.to_le_bytes());
                put_all(out, &maps.keys, |key| key.to_le_bytes());
                put_all(out, &maps.counts, |count| count.to_le_bytes());
            }
            Self::Map(maps) => maps.encode(out),
            Self::Array(arrays) => arrays.encode(out),
        }
    }
}

/// Appends values of `N` bytes each. Written over room made before, which the compiler turns into wide copies.
pub(super) fn put_all<T: Copy, const N: usize>(out: &mut Vec<u8>, values: &[T], bytes: fn(T) -> [u8; N]) {
    let start = out.len();
    out.resize(start + N * values.len(), 0);
    for (room, value) in out[start..].chunks_exact_mut(N).zip(values) {
        room.copy_from_slice(&bytes(*value));
    }
}
