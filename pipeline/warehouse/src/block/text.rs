//! Strings, kept as they travel: length, bytes, length, bytes, ….
//! No encoding is checked: ClickHouse's strings are bytes.

use std::ops::Range;

use super::put_string;

/// A column of strings, which may hold any bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextColumn {
    /// Lengths and bytes.
    data: Vec<u8>,
    /// Where each row ends in `data`; rows are cut out by it.
    ends: Vec<usize>,
}

impl TextColumn {
    /// Adds a row.
    pub fn push(&mut self, bytes: impl AsRef<[u8]>) {
        put_string(&mut self.data, bytes.as_ref());
        self.ends.push(self.data.len());
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        let end_of = |row: usize| if row == 0 { 0 } else { self.ends[row - 1] };
        let (start, end) = (end_of(rows.start), end_of(rows.end));
        Self {
            data: self.data[start..end].to_vec(),
            ends: self.ends[rows].iter().map(|end| end - start).collect(),
        }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        self.data.len()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_holds_its_rows() {
        let mut column = TextColumn::default();
        for text in ["", "one", "two", "three"] {
            column.push(text);
        }
        let mut out = Vec::new();
        column.slice(1..3).encode(&mut out);
        assert_eq!(out, b"\x03one\x03two");
        assert_eq!(column.slice(0..4), column);
        assert!(column.slice(2..2).is_empty());
    }
}
