//! Blocks of columns in ClickHouse's Native format: what an insert sends.
//!
//! Columns are kept as they travel wherever that is possible, so encoding is a copy or less. Only the types that
//! hoplog's tables need; nothing here reads a block, and nothing here knows a table.

mod array;
mod column;
mod symbol;
mod text;

use std::ops::Range;

pub use array::{ArrayColumn, MapColumn};
pub use column::{Column, CountsColumn, ListColumn};
pub use symbol::SymbolColumn;
pub use text::TextColumn;

/// Named columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    columns: Vec<(&'static str, Column)>,
}

impl Block {
    /// Takes the columns.
    ///
    /// # Errors
    /// Columns of different lengths are refused, with the name of the first one that differs.
    pub fn new(columns: Vec<(&'static str, Column)>) -> Result<Self, UnevenColumns> {
        let rows = columns.first().map_or(0, |(_, column)| column.len());
        match columns.iter().find(|(_, column)| column.len() != rows) {
            Some((name, column)) => Err(UnevenColumns { column: name, rows: column.len(), expected: rows }),
            None => Ok(Self { columns }),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    /// Names of the columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|(name, _)| *name)
    }

    /// Some of the rows, as a block of their own.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let columns = self.columns.iter().map(|(name, column)| (*name, column.slice(rows.clone())));
        Self { columns: columns.collect() }
    }

    /// The block as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bytes = self.columns.iter().map(|(name, column)| name.len() + 64 + column.encoded_bytes()).sum();
        let mut out = Vec::with_capacity(bytes);
        put_varint(&mut out, self.columns.len() as u64);
        put_varint(&mut out, self.rows() as u64);
        for (name, column) in &self.columns {
            put_string(&mut out, name.as_bytes());
            put_string(&mut out, column.type_name().as_bytes());
            // A block without rows has no column data, not even a dictionary's header.
            if column.len() > 0 {
                column.encode(&mut out);
            }
        }
        out
    }
}

/// Columns of one block have different lengths: a bug in what built them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` has {rows} rows, the first one has {expected}")]
pub struct UnevenColumns {
    /// The first column that differs.
    pub column: &'static str,
    /// Its rows.
    pub rows: usize,
    /// The rows of the first column.
    pub expected: usize,
}

/// Appends an unsigned LEB128 number.
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends a string with its length.
fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        for (number, bytes) in [
            (0u64, vec![0u8]),
            (127, vec![127]),
            (128, vec![0x80, 1]),
            (300, vec![0xac, 2]),
            (u64::MAX, [vec![0xff; 9], vec![1]].concat()),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out, bytes, "{number}");
        }
    }

    #[test]
    fn columns_of_different_lengths_are_refused() {
        let uneven = Block::new(vec![("a", Column::U8(vec![1, 2])), ("b", Column::U16(vec![1]))]);
        assert_eq!(uneven, Err(UnevenColumns { column: "b", rows: 1, expected: 2 }));
    }

    #[test]
    fn layout_of_a_small_block() {
        let block = Block::new(vec![("n", Column::U16(vec![1, 0x0203]))]).unwrap();
        assert_eq!(block.encode(), b"\x01\x02\x01n\x06UInt16\x01\x00\x03\x02");
        let none = block.slice(0..0);
        assert_eq!((none.rows(), none.encode()), (0, b"\x01\x00\x01n\x06UInt16".to_vec()));
    }
}
