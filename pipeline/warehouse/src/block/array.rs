//! Columns that are made of other ones: lists of any type, and maps from text to text. How many items each row has, then all
//! items one after the other. Symbols can't be items: their dictionary would come before the ends; ClickHouse makes symbols of
//! texts as it stores them.

use std::ops::Range;

use super::column::{put_all, slice_ends};
use super::{Column, TextColumn};

/// A list of values a row.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayColumn {
    /// Where each row's list ends.
    ends: Vec<u64>,
    items: Column,
}

impl ArrayColumn {
    /// Takes the items of all rows, and where each row's end.
    #[must_use]
    pub fn new(ends: Vec<u64>, items: Column) -> Self {
        debug_assert_eq!(ends.last().copied().unwrap_or(0), items.len() as u64);
        Self { ends, items }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn type_name(&self) -> String {
        format!("Array({})", self.items.type_name())
    }

    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        let (ends, items) = slice_ends(&self.ends, rows);
        Self { ends, items: self.items.slice(items) }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        8 * self.ends.len() + self.items.encoded_bytes()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_all(out, &self.ends, |end| end.to_le_bytes());
        self.items.encode(out);
    }
}

/// Maps from text to text, such as attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapColumn {
    ends: Vec<u64>,
    keys: TextColumn,
    values: TextColumn,
}

impl MapColumn {
    /// Adds a row.
    pub fn push<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (key, value) in pairs {
            self.keys.push(key);
            self.values.push(value);
        }
        self.ends.push(self.keys.len() as u64);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        let (ends, items) = slice_ends(&self.ends, rows);
        Self { ends, keys: self.keys.slice(items.clone()), values: self.values.slice(items) }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        8 * self.ends.len() + self.keys.encoded_bytes() + self.values.encoded_bytes()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_all(out, &self.ends, |end| end.to_le_bytes());
        self.keys.encode(out);
        self.values.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_follow_the_ends() {
        let mut maps = MapColumn::default();
        maps.push([("a", "1"), ("b", "")]);
        maps.push([]);
        maps.push([("c", "3")]);
        let lists = ArrayColumn::new(vec![0, 2, 3], Column::Map(maps));
        assert_eq!(lists.type_name(), "Array(Map(String, String))");
        let mut out = Vec::new();
        lists.slice(1..3).encode(&mut out);
        let ends = |ends: &[u64]| ends.iter().flat_map(|end| end.to_le_bytes()).collect::<Vec<_>>();
        let expected =
            [&ends(&[2, 3])[..], &ends(&[2, 2, 3]), b"\x01a\x01b\x01c", b"\x011\x00\x013"].concat();
        assert_eq!(out, expected);
    }
}
