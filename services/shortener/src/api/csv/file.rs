//! A file that is imported: read once to its end before anything is done, so that nothing is imported of one that is
//! cut off or no CSV, and then a chunk of rows at a time. What the cells mean is not known here.

use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use csv::{ByteRecord, ReaderBuilder, StringRecord};
use serde_json::{Value, json};

use super::Format;
use super::columns::Header;
use crate::api::problem::Problem;

/// Wrong rows that are named in an answer: enough to see what they have in common.
const FAULTS_MAX: usize = 20;

/// Rows looked at before others get a turn: less than a millisecond.
const ROWS_AT_ONCE: usize = 1_000;

/// What Excel puts before text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file that is whole.
pub(super) struct File {
    pub(super) header: Header,
    rows: csv::Reader<Reader<Bytes>>,
    /// Of the row that was read last; the header's is 1, and empty lines have none.
    number: usize,
}

/// A row and its number.
pub(super) type Numbered = (usize, StringRecord);

impl File {
    /// Checks a file to its end.
    pub(super) async fn open(
        mut bytes: Bytes,
        format: Option<Format>,
        rows_max: usize,
    ) -> Result<Self, Problem> {
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.advance(BYTE_ORDER_MARK.len());
        }
        // They come in pairs, around cells and within: else the file is cut off, and the last cell is all of its rest.
        if bytes.iter().filter(|byte| **byte == b'"').count() % 2 != 0 {
            return Err(Problem::malformed_csv("A quotation mark has no counterpart.", Vec::new()));
        }
        let (header, _) = begin(bytes.clone(), format)?;
        let (_, mut rows) = begin(bytes.clone(), Some(header.format))?;
        let (mut row, mut number, mut faults) = (ByteRecord::new(), 1, Vec::new());
        while next(&mut rows, &mut row)? {
            number += 1;
            if number > rows_max.saturating_add(1) {
                return Err(Problem::too_many_rows(rows_max));
            }
            if let Some(why) = fault(&header, &row)
                && faults.len() < FAULTS_MAX
            {
                faults.push(json!({ "row": number, "line": line(&bytes, &row), "reason": why }));
            }
            if number % ROWS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        if faults.is_empty() {
            let (_, rows) = begin(bytes, Some(header.format))?;
            Ok(Self { header, rows, number: 1 })
        } else {
            Err(Problem::malformed_csv("Rows are not as the header says.", faults))
        }
    }

    /// The next rows, at most `count`; none at the end.
    pub(super) fn next(&mut self, count: usize) -> Result<Vec<Numbered>, Problem> {
        let mut chunk = Vec::new();
        let mut row = ByteRecord::new();
        while chunk.len() < count && next(&mut self.rows, &mut row)? {
            self.number += 1;
            chunk.push((self.number, text(&row)?));
        }
        Ok(chunk)
    }
}

/// The header of a file, and what reads the rows after it.
fn begin(bytes: Bytes, format: Option<Format>) -> Result<(Header, csv::Reader<Reader<Bytes>>), Problem> {
    // Rows of other lengths are named by us, all of them.
    let mut rows = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes.reader());
    let mut row = ByteRecord::new();
    if !next(&mut rows, &mut row)? {
        return Err(Problem::malformed_csv("The file is empty: not even a header is there.", Vec::new()));
    }
    let names = text(&row)?;
    let names: Vec<&str> = names.iter().collect();
    let header = Header::read(&names, format).map_err(|why| Problem::malformed_csv(&why, Vec::new()))?;
    Ok((header, rows))
}

fn next(rows: &mut csv::Reader<Reader<Bytes>>, row: &mut ByteRecord) -> Result<bool, Problem> {
    // Bytes in memory can't fail to be read, and what is in them is looked at by us.
    rows.read_byte_record(row).map_err(|_| Problem::malformed_csv("The file can't be read.", Vec::new()))
}

fn text(row: &ByteRecord) -> Result<StringRecord, Problem> {
    StringRecord::from_byte_record(row.clone())
        .map_err(|_| Problem::malformed_csv("The file is not in UTF-8.", Vec::<Value>::new()))
}

/// The line of a file in which a row begins. The reader's position is before empty lines.
fn line(bytes: &[u8], row: &ByteRecord) -> u64 {
    let Some(at) = row.position() else { return 0 };
    let before = bytes.iter().skip(usize::try_from(at.byte()).unwrap_or(usize::MAX));
    let breaks = before.take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n');
    at.line() + breaks.count() as u64
}

fn fault(header: &Header, row: &ByteRecord) -> Option<String> {
    if row.iter().any(|cell| std::str::from_utf8(cell).is_err()) {
        return Some("is not in UTF-8".to_owned());
    }
    (row.len() != header.len()).then(|| format!("has {} columns instead of {}", row.len(), header.len()))
}
