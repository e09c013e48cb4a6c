//! One line as it is written: bytes, texts and numbers behind each other in memory that is used again and again.
//!
//! Memory for the longest line is there from the start, so each piece is one check and a few moves; nothing grows and
//! nothing is allocated. Knows JSON's strings and numbers, and nothing of events.

use crate::codec::LINE_BYTES_MAX;

/// Room for an object with every string at its limit and full of what JSON escapes sixfold; a test of the codec holds
/// such an event to it.
const ROOM_BYTES: usize = LINE_BYTES_MAX / 2;

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// 2^64 has 20 digits.
const DIGITS_MAX: usize = 20;

/// A line that is being written.
///
/// # Panics
/// All that writes panics where a line is longer than any event's.
#[derive(Debug)]
pub(crate) struct Line {
    room: Box<[u8; ROOM_BYTES]>,
    end: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { room: Box::new([0; ROOM_BYTES]), end: 0 }
    }
}

impl Line {
    /// Begins anew.
    pub(crate) fn begin(&mut self) {
        self.end = 0;
    }

    /// What was written, as the object whose fields they are: the comma before the first is its brace.
    pub(crate) fn object(&mut self) -> &[u8] {
        self.room[0] = b'{';
        &self.room[..self.end]
    }

    /// Inlined, since nearly all bytes are of a known number.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.room[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// A string with its quotes.
    pub(crate) fn text(&mut self, text: &str) {
        let length = text.len();
        let room = &mut self.room[self.end..][..length + 2];
        room[0] = b'"';
        room[length + 1] = b'"';
        if copy(text.as_bytes(), &mut room[1..=length]) {
            self.end += length + 2;
        } else {
            self.escaped(text);
        }
    }

    /// The same by serde_json.
    #[cold]
    #[allow(clippy::expect_used)]
    fn escaped(&mut self, text: &str) {
        let mut room = &mut self.room[self.end..];
        let before = room.len();
        serde_json::to_writer(&mut room, text).expect("a line has room for every event");
        self.end += before - room.len();
    }

    /// A number.
    pub(crate) fn number(&mut self, mut number: u64) {
        // Behind the digits as many bytes again, so that what is copied has always the same length.
        let mut digits = [b'0'; 2 * DIGITS_MAX];
        let mut start = DIGITS_MAX;
        while number >= 100 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(&pair(number % 100));
            number /= 100;
        }
        if number >= 10 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(&pair(number));
        } else {
            start -= 1;
            digits[start] = pair(number)[1];
        }
        self.room[self.end..][..DIGITS_MAX].copy_from_slice(&digits[start..][..DIGITS_MAX]);
        self.end += DIGITS_MAX - start;
    }

    /// A number below a million, with leading zeros.
    pub(crate) fn six_digits(&mut self, number: u64) {
        let pairs = [number / 10_000 % 100, number / 100 % 100, number % 100].map(pair);
        self.bytes(pairs.as_flattened());
    }

    /// A number as sixteen digits in quotes.
    pub(crate) fn quoted_hex(&mut self, number: u64) {
        self.bytes(b"\"");
        self.hex(number);
        self.bytes(b"\"");
    }

    /// A number as sixteen digits.
    #[inline]
    pub(crate) fn hex(&mut self, number: u64) {
        for half in [number >> 32, number & u64::from(u32::MAX)] {
            self.bytes(&hex(half));
        }
    }
}

fn pair(below_100: u64) -> [u8; 2] {
    PAIRS[usize::try_from(below_100).unwrap_or_default()]
}

/// The eight digits of a number of 32 bits: it is spread, a nibble to a byte, and all nibbles become digits at once.
fn hex(number: u64) -> [u8; 8] {
    let mut nibbles = (number | number << 16) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (nibbles + 6 * ONES) >> 4 & ONES;
    (nibbles + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Copies a text to a place of its length. False if some of it must be escaped.
fn copy(text: &[u8], place: &mut [u8]) -> bool {
    let (words, _) = text.as_chunks::<8>();
    let (places, _) = place.as_chunks_mut::<8>();
    let mut special = 0;
    for (word, place) in words.iter().zip(places) {
        *place = *word;
        special |= specials(*word);
    }
    // What is left is copied as the last bytes, some of them for the second time.
    if let (Some(word), Some(place)) = (text.last_chunk(), place.last_chunk_mut()) {
        *place = *word;
        return (special | specials(*word)) & HIGHEST == 0;
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let mut word = [0; 8];
        word[..4].copy_from_slice(first);
        word[4..].copy_from_slice(last);
        place[..4].copy_from_slice(first);
        place[text.len() - 4..].copy_from_slice(last);
        return specials(word) & HIGHEST == 0;
    }
    let mut is_clean = true;
    for (byte, place) in text.iter().zip(place) {
        *place = *byte;
        is_clean &= !matches!(byte, b'"' | b'\\' | ..b' ');
    }
    is_clean
}

const ONES: u64 = u64::MAX / 255;
const HIGHEST: u64 = ONES << 7;

/// Whether some of eight bytes is a control character, a quote or a backslash: then the highest bit of some byte is
/// set. With its second bit turned round, a quote is just behind the control characters, and those stay among
/// themselves. Formulas: Sean Eron Anderson, "Bit Twiddling Hacks", `hasless` and `haszero`.
fn specials(word: [u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(word);
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word;
    less(word ^ (ONES * 2), b' ' + 1) | less(word ^ (ONES * u64::from(b'\\')), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl Fn(&mut Line)) -> String {
        let mut line = Line::default();
        line.bytes(b",");
        write(&mut line);
        String::from_utf8(line.object()[1..].to_vec()).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_are_as_the_library_writes_them(number in any::<u64>(), bits in 0..64u32) {
            let number = number >> bits;
            prop_assert_eq!(written(|line| line.number(number)), number.to_string());
            prop_assert_eq!(written(|line| line.quoted_hex(number)), format!("\"{number:016x}\""));
            let number = number % 1_000_000;
            prop_assert_eq!(written(|line| line.six_digits(number)), format!("{number:06}"));
        }

        #[test]
        fn texts_are_as_serde_json_writes_them(text in prop_oneof![
            "\\PC{0,60}",
            "[ -~]{0,60}",
            "[\\x00-\\x7f]{0,60}",
            "[a\u{7f}\u{80}\u{85}\u{2028}\u{2029}\u{d7ff}\u{e000}\u{fffd}\u{feff}😀\u{10ffff}\"\\\\/\u{0}\n]{0,60}",
        ]) {
            prop_assert_eq!(written(|line| line.text(&text)), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn what_must_be_escaped_is_found_wherever_it_is() {
        for length in 0..70 {
            for byte in 0..=255 {
                let (mut text, mut place) = (vec![b'x'; length], vec![0; length]);
                assert!(copy(&text, &mut place));
                assert_eq!(text, place);
                for at in 0..length {
                    text[at] = byte;
                    let special = byte < b' ' || byte == b'"' || byte == b'\\';
                    assert_eq!(copy(&text, &mut place), !special, "{byte} at {at} of {length}");
                    assert_eq!(text, place);
                    text[at] = b'x';
                }
            }
        }
    }
}
