//! Strings of a range as small numbers, so that keys made of them are compared and hashed as numbers.

use rustc_hash::FxHashMap;
use warehouse::{Column, SymbolColumn};

/// Number of the empty string.
pub(crate) const EMPTY: u32 = 0;

/// The strings seen so far.
#[derive(Debug)]
pub(crate) struct Symbols {
    numbers: FxHashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { numbers: FxHashMap::from_iter([("".into(), EMPTY)]), names: vec!["".into()] }
    }
}

impl Symbols {
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // More than 2^32 distinct strings don't fit into memory.
        #[allow(clippy::cast_possible_truncation)]
        let number = self.names.len() as u32;
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    /// As [`Symbols::number`], where the string is likely to be that of `guess`: comparing is cheaper than hashing.
    pub(crate) fn number_like(&mut self, guess: u32, name: &str) -> u32 {
        if self.name(guess) == name { guess } else { self.number(name) }
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    /// All strings, by their numbers.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// A column of strings, given by their numbers.
    pub(crate) fn column(&self, numbers: Vec<u32>) -> Column {
        Column::Symbol(SymbolColumn::of(self.names(), numbers))
    }
}
