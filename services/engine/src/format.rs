//! What is known of output formats: which may be sent block by block, and how a block's header is cut off.
//!
//! The library renders each block as a document of its own. Formats without a header are simply joined;
//! those whose header is countable lose it from the second block on; all others (JSON, Parquet, …) are
//! rendered whole by the library, in memory, within the query's memory limit.

/// How the blocks of a streamed result become one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// Blocks have no header.
    Plain,
    /// Blocks begin with this many lines of names and types.
    Lines(usize),
    /// Blocks begin with the RowBinary header: a count, names, and types if the flag is set.
    RowBinary(bool),
    /// Blocks cannot be joined.
    Whole,
}

impl Joining {
    /// Of the format with this name, in ClickHouse's spelling or any of its aliases, any case.
    pub(crate) fn of(format: &str) -> Self {
        let name = format.to_ascii_lowercase();
        match name.as_str() {
            "rowbinarywithnamesandtypes" => return Self::RowBinary(true),
            "rowbinarywithnames" => return Self::RowBinary(false),
            _ => {}
        }
        let (base, lines) = match name.strip_suffix("withnamesandtypes") {
            Some(base) => (base, 2),
            None => name.strip_suffix("withnames").map_or((name.as_str(), 0), |base| (base, 1)),
        };
        let lined = ["tsv", "tabseparated", "jsoncompacteachrow", "jsoncompactstringseachrow"];
        let headless =
            ["native", "rowbinary", "jsoneachrow", "jsonlines", "ndjson", "jsonstringseachrow", "csv"];
        match lines {
            0 if headless.contains(&base) || lined.contains(&base) => Self::Plain,
            0 => Self::Whole,
            _ if lined.contains(&base) => Self::Lines(lines),
            _ => Self::Whole,
        }
    }

    /// How many bytes of a block are its header.
    pub(crate) fn header_bytes(self, block: &[u8]) -> usize {
        match self {
            Self::Plain | Self::Whole => 0,
            Self::Lines(lines) => {
                let ends = block.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                ends.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(block.len())
            }
            Self::RowBinary(types) => row_binary_header(block, types).unwrap_or(block.len()),
        }
    }
}

fn row_binary_header(block: &[u8], types: bool) -> Option<usize> {
    let mut at = 0;
    let columns = varint(block, &mut at)?;
    let strings = if types { columns.checked_mul(2)? } else { columns };
    for _ in 0..strings {
        let length = usize::try_from(varint(block, &mut at)?).ok()?;
        at = at.checked_add(length).filter(|end| *end <= block.len())?;
    }
    Some(at)
}

fn varint(block: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *block.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        for (format, want) in [
            ("Native", Joining::Plain),
            ("CSV", Joining::Plain),
            ("TabSeparated", Joining::Plain),
            ("TSVWithNames", Joining::Lines(1)),
            ("JSONCompactEachRowWithNamesAndTypes", Joining::Lines(2)),
            ("RowBinaryWithNamesAndTypes", Joining::RowBinary(true)),
            // A quoted name may hold a line end.
            ("CSVWithNames", Joining::Whole),
            ("JSON", Joining::Whole),
            ("Parquet", Joining::Whole),
            ("Null", Joining::Whole),
            ("RawBLOB", Joining::Whole),
        ] {
            assert_eq!(Joining::of(format), want, "{format}");
        }
    }

    #[test]
    fn headers_are_measured() {
        assert_eq!(Joining::Lines(2).header_bytes(b"a\tb\nInt8\tString\n1\tx\n"), 16);
        assert_eq!(Joining::RowBinary(true).header_bytes(b"\x01\x01a\x05UInt8\x07"), 9);
        assert_eq!(Joining::RowBinary(false).header_bytes(b"\x01\x01a\x07"), 3);
        assert_eq!(Joining::RowBinary(true).header_bytes(b"\x05\x01a"), 3, "nonsense is never cut into");
    }
}
