//! Reads the one form of JSON that our encoders write: no spaces, no escapes, the fields of the registry in its order.
//!
//! Nearly every line has it, and reading it takes a third of the time that a general parser needs. What has another
//! form (escapes, a field that is not in the registry, a mistake) is no error here: it yields `None`, and
//! [`crate::codec`] has the general parser say what it is. What is read here is what that parser would read.

use crate::timestamp::Timestamp;
use crate::value::{Cache, Host, Network, Orphan, Outcome, SpanId, Text, TraceId, Visitor};

/// The part of a line that has not been read. Between two values it begins with a key or is the closing brace.
pub(crate) struct Line<'a>(&'a str);

impl<'a> Line<'a> {
    /// Begins to read an object.
    pub(crate) fn new(line: &'a str) -> Option<Self> {
        line.strip_prefix('{').map(Self)
    }

    /// Whether the next key is `key`, which is given with its quotes and its colon. If so its value is next.
    ///
    /// Inlined, so that the key's length is known and comparing takes a few instructions instead of a call.
    #[inline(always)]
    pub(crate) fn has(&mut self, key: &str) -> bool {
        let behind = self.0.strip_prefix(key);
        self.0 = behind.unwrap_or(self.0);
        behind.is_some()
    }

    /// Reads a value, and the comma if there is one.
    #[inline]
    pub(crate) fn value<T: Canonical<'a>>(&mut self) -> Option<T> {
        let value = T::read(self)?;
        if self.0.as_bytes().starts_with(b",\"") {
            self.0 = &self.0[1..];
            Some(value)
        } else {
            self.is_at_end().then_some(value)
        }
    }

    /// Whether the object has been read, and nothing is behind it.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0 == "}"
    }

    fn text(&mut self) -> Option<&'a str> {
        let behind = self.0.strip_prefix('"')?;
        let (text, behind) = behind.split_at(special(behind.as_bytes())?);
        self.0 = behind.strip_prefix('"')?;
        Some(text)
    }

    /// A number without sign, point, exponent and leading zeros.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        let mut digits = 0;
        for byte in self.0.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            digits += 1;
        }
        let is_plain = digits == 1 || digits > 1 && !self.0.starts_with('0');
        self.0 = &self.0[digits..];
        is_plain.then_some(number)
    }
}

/// Where the first byte is that does not stand for itself in a JSON string: a quote, a backslash, a control character.
fn special(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(8 * at + found.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
    Some(8 * words.len() + found)
}

/// The same for eight bytes at once: the lowest bit that is set is the highest of the first such byte; those above it
/// mean nothing. Formulas: Sean Eron Anderson, "Bit Twiddling Hacks", `hasless` and `haszero`.
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const fn less(word: u64, than: u8) -> u64 {
        word.wrapping_sub(ONES * than as u64) & !word
    }
    let quote = less(word ^ (ONES * b'"' as u64), 1);
    let backslash = less(word ^ (ONES * b'\\' as u64), 1);
    (less(word, b' ') | quote | backslash) & (ONES << 7)
}

/// What can be read from a line in that form.
pub(crate) trait Canonical<'a>: Sized {
    /// Reads the value that is next.
    fn read(line: &mut Line<'a>) -> Option<Self>;
}

macro_rules! canonical {
    ($($type:ty: $line:ident => $value:expr;)*) => {
        $(impl<'a> Canonical<'a> for $type {
            fn read($line: &mut Line<'a>) -> Option<Self> { $value }
        })*
    };
}
canonical! {
    u64: line => line.number();
    u32: line => line.number()?.try_into().ok();
    u16: line => line.number()?.try_into().ok();
    u8: line => line.number()?.try_into().ok();
    bool: line => if line.has("true") { Some(true) } else { line.has("false").then_some(false) };
    Timestamp: line => Self::parse(line.text()?);
    TraceId: line => Self::parse(line.text()?);
    SpanId: line => Self::parse(line.text()?);
    Visitor: line => Self::parse(line.text()?);
    Network: line => Self::parse(line.text()?);
    Host<'a>: line => Self::parse(line.text()?);
    Outcome: line => Self::parse(line.text()?);
    Cache: line => Self::parse(line.text()?);
    Orphan: line => Self::parse(line.text()?);
}
impl<'a, const MAX: usize> Canonical<'a> for Text<'a, MAX> {
    fn read(line: &mut Line<'a>) -> Option<Self> {
        line.text().map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(text in prop::collection::vec(prop_oneof![any::<u8>(), b'!'..b'$', Just(b'a')], 0..40)) {
            let first = text.iter().position(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\');
            prop_assert_eq!(special(&text), first);
        }

        #[test]
        fn numbers_are_as_the_library_reads_them(number in any::<u64>(), bits in 0..64u32) {
            let text = (number >> bits).to_string();
            prop_assert_eq!(Line(&text).number(), Some(number >> bits));
        }
    }

    #[test]
    fn other_forms_are_left_to_others() {
        for number in ["", "00", "01", "-1", "+1", " 1", "a", "18446744073709551616"] {
            assert_eq!(Line(number).number(), None, "{number}");
        }
        for text in ["", "\"", "\"abc", "abc\"", "\"a\\u0062\"", "\"a\tb\"", " \"abc\"", "null"] {
            assert_eq!(Line(text).text(), None, "{text}");
        }
        for behind in ["", ",", ",}", ", \"", "}}", "} ", " }", "\"", "]"] {
            assert_eq!(Line(&format!("1{behind}")).value::<u64>(), None, "{behind}");
        }
        assert_eq!(Line("1}").value::<u64>(), Some(1));
        assert_eq!(Line("1,\"").value::<u64>(), Some(1));
        assert_eq!(Line("70000}").value::<u16>(), None);
    }
}
