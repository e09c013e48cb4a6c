//! Paths of a site and the codes that stand for them in a replay: the same everywhere and at any time, so that a
//! script can compare a log with ClickHouse by this table alone.

use std::collections::BTreeSet;
use std::io::Write;

/// Base 58: no `0`, `O`, `I` and `l`, as codes of links are read by people.
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// 58^12 is 2^70: a million paths collide with a probability of 1 in 2.8 thousand million.
const CODE_LENGTH: usize = 12;

/// The code of a path, query included.
#[must_use]
pub fn code_of(path: &str) -> String {
    let hash = blake3::hash(path.as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    let mut number = u128::from_le_bytes(first);
    let mut code = String::with_capacity(CODE_LENGTH);
    for _ in 0..CODE_LENGTH {
        code.push(char::from(ALPHABET[(number % 58) as usize]));
        number /= 58;
    }
    code
}

/// Writes `code TAB path` a line, in the order of paths.
///
/// # Errors
/// What the writer says.
pub fn write_mapping(paths: &BTreeSet<&str>, mut out: impl Write) -> std::io::Result<()> {
    for path in paths {
        writeln!(out, "{}\t{path}", code_of(path))?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CODE_LENGTH, code_of, write_mapping};

    #[test]
    fn codes_never_change() {
        // A changed code would make an old mapping useless: this is a format.
        let codes: Vec<String> = ["/", "/a?b=c", ""].into_iter().map(code_of).collect();
        assert_eq!(codes, ["dcDZcRJhTTHC", "tvFcCrYVbpPZ", "p1TSxjQAc9Gg"]);
        assert!(codes.iter().all(|code| code.len() == CODE_LENGTH));
    }

    #[test]
    fn paths_have_codes_of_their_own() {
        let codes: BTreeSet<String> = (0..20_000).map(|n| code_of(&format!("/{n}"))).collect();
        assert_eq!(codes.len(), 20_000);
    }

    #[test]
    fn a_mapping_is_a_line_a_path() {
        let mut text = Vec::new();
        write_mapping(&BTreeSet::from(["/b", "/a"]), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, format!("{}\t/a\n{}\t/b\n", code_of("/a"), code_of("/b")));
    }
}
