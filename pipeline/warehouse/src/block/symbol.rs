//! Strings with few distinct values: each is written once, rows are indexes. The dictionary is the block's own.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::TextColumn;
use super::column::put_all;

/// Version of the dictionary's layout: the only one there is.
const KEYS_VERSION: u64 = 1;
/// The block brings its own dictionary, and none is shared between blocks.
const OWN_DICTIONARY: u64 = 1 << 9;

/// A column of symbols.
#[derive(Debug, Clone)]
pub struct SymbolColumn {
    indexes: Vec<u32>,
    dictionary: FxHashMap<Box<str>, u32>,
    keys: TextColumn,
    /// The last value and its index: neighbours are often equal, and comparing is cheaper than hashing.
    last: (String, u32),
}

impl Default for SymbolColumn {
    fn default() -> Self {
        let mut keys = TextColumn::default();
        keys.push(""); // ClickHouse's own writer puts the type's default first, too
        let dictionary = FxHashMap::from_iter([("".into(), 0)]);
        Self { indexes: Vec::new(), dictionary, keys, last: (String::new(), 0) }
    }
}

impl PartialEq for SymbolColumn {
    /// Equal as written; the hash map's order is not.
    fn eq(&self, other: &Self) -> bool {
        (&self.indexes, &self.keys) == (&other.indexes, &other.keys)
    }
}

impl SymbolColumn {
    /// Rows as indexes into `values`, of which the first one is the empty string and none is there twice. What an index
    /// without a value does to an insert is for ClickHouse to say.
    #[must_use]
    pub fn of<'v>(values: impl IntoIterator<Item = &'v str>, indexes: Vec<u32>) -> Self {
        let mut column = Self::default();
        for value in values.into_iter().skip(1) {
            column.index_of(value);
        }
        Self { indexes, ..column }
    }

    /// Adds a row.
    pub fn push(&mut self, text: &str) {
        if self.last.0 != text {
            self.last.1 = self.index_of(text);
            self.last.0.clear();
            self.last.0.push_str(text);
        }
        self.indexes.push(self.last.1);
    }

    fn index_of(&mut self, text: &str) -> u32 {
        if let Some(index) = self.dictionary.get(text) {
            return *index;
        }
        // More than 2^32 distinct strings don't fit into memory.
        #[allow(clippy::cast_possible_truncation)]
        let index = self.keys.len() as u32;
        self.keys.push(text);
        self.dictionary.insert(text.into(), index);
        index
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// The rows keep the whole dictionary: cutting out is rare.
    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        Self { indexes: self.indexes[rows].to_vec(), ..self.clone() }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        32 + self.keys.encoded_bytes() + 4 * self.indexes.len()
    }

    #[allow(clippy::cast_possible_truncation)] // the width is chosen by the number of keys
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let width: u64 = match self.keys.len() {
            0..=0x100 => 0,
            0x101..=0x1_0000 => 1,
            _ => 2,
        };
        put_all(out, &[KEYS_VERSION, OWN_DICTIONARY | width, self.keys.len() as u64], u64::to_le_bytes);
        self.keys.encode(out);
        put_all(out, &[self.indexes.len() as u64], u64::to_le_bytes);
        match width {
            0 => put_all(out, &self.indexes, |index| [index as u8]),
            1 => put_all(out, &self.indexes, |index| (index as u16).to_le_bytes()),
            _ => put_all(out, &self.indexes, u32::to_le_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_string_is_written_once() {
        let mut column = SymbolColumn::default();
        for text in ["a", "a", "", "b", "a"] {
            column.push(text);
        }
        assert_eq!(column.indexes, [1, 1, 0, 2, 1]);
        let mut out = Vec::new();
        column.encode(&mut out);
        let head = [1, 0x200, 3].map(u64::to_le_bytes).concat();
        let expected = [&head[..], b"\x00\x01a\x01b", &5u64.to_le_bytes(), &[1, 1, 0, 2, 1]].concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn indexes_grow_with_the_dictionary() {
        for (distinct, width) in [(255, 1), (256, 2), (65_535, 2), (65_536, 4)] {
            let mut column = SymbolColumn::default();
            for number in 0..distinct {
                column.push(&number.to_string());
            }
            let mut out = Vec::new();
            column.encode(&mut out);
            assert_eq!(out.len(), 32 + column.keys.encoded_bytes() + width * distinct, "{distinct} values");
        }
    }
}
