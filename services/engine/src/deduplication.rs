//! Repairs, before the engine opens, what a kill in the middle of an insert leaves in a deduplication log.
//!
//! ClickHouse writes an insert's token into the log of its table, and only then moves the new part from
//! `tmp_insert_…` to its place. A kill between the two leaves a token without its rows: the insert was never
//! acknowledged, and its repetition would be taken for a duplicate and acknowledged without being stored.
//! At most the newest part of each log can be in that state, as both steps happen under the lock of the table's
//! parts. So no other is looked at, and a log that does not read as expected is left alone, with a warning.

use crate::engine::EngineError;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder in a table's folder that holds its logs.
const LOGS: &str = "deduplication_logs";

/// Makes the engine forget the tokens of parts that are not there. `store` is ClickHouse's folder of tables,
/// which nobody else may have open. Returns how many tokens were taken out.
///
/// # Errors
/// A record cannot be written. Opening the engine all the same could lose rows.
pub(crate) fn forget_lost(store: &Path) -> Result<usize, EngineError> {
    let mut forgotten = 0;
    for table in tables(store) {
        let lost = match lost(&table) {
            Ok(Some(lost)) => lost,
            Ok(None) => continue,
            Err(error) => {
                let table = table.file_name().unwrap_or_default().display();
                tracing::warn!(%table, %error, "a deduplication log cannot be read and is left as it is");
                continue;
            }
        };
        append(&lost.log, &lost.records())
            .map_err(|source| EngineError::Data { path: lost.log.clone(), source })?;
        forgotten += lost.blocks.len();
        let table = table.file_name().unwrap_or_default().display();
        tracing::warn!(
            %table,
            part = lost.part,
            tokens = lost.blocks.len(),
            "an insert was killed before its part was in place: its token is forgotten, so that it can be repeated"
        );
    }
    Ok(forgotten)
}

/// Folders of tables that have a log: `store/abc/abcdef…`.
fn tables(store: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    list(store).flat_map(|prefix| list(&prefix)).filter(|table| table.join(LOGS).is_dir()).collect()
}

/// The newest part of a log, which is not there.
#[derive(Debug, PartialEq)]
struct Lost {
    /// The newest file, which the engine would append to as well.
    log: PathBuf,
    part: String,
    /// What the engine knows its tokens as.
    blocks: Vec<String>,
}

impl Lost {
    /// What the engine itself writes when a part is dropped.
    fn records(&self) -> String {
        self.blocks.iter().map(|block| format!("2\t{}\t{block}\n", self.part)).collect()
    }
}

fn lost(table: &Path) -> io::Result<Option<Lost>> {
    let logs = logs(&table.join(LOGS))?;
    let Some(log) = logs.last() else { return Ok(None) };
    // Oldest first, as the engine reads them; from the file of the newest part on.
    let mut records = Vec::new();
    for path in logs.iter().rev() {
        let mut older = parse(&fs::read_to_string(path)?)?;
        older.append(&mut records);
        records = older;
        if records.iter().any(|record| record.added) {
            break;
        }
    }
    let Some(newest) = records.iter().rfind(|record| record.added) else { return Ok(None) };
    let part = Part::parse(&newest.part).ok_or_else(|| odd("a part's name is not understood"))?;
    let mut blocks: Vec<String> = Vec::new();
    for record in &records {
        blocks.retain(|block| *block != record.block);
        if record.added && record.part == newest.part {
            blocks.push(record.block.clone());
        }
    }
    if blocks.is_empty() || is_there(table, &part)? {
        return Ok(None);
    }
    Ok(Some(Lost { log: log.clone(), part: newest.part.clone(), blocks }))
}

/// The files of a log, oldest first: their numbers grow.
fn logs(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix("deduplication_log_")?.strip_suffix(".txt"));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        logs.push((number.ok_or_else(|| odd("a file's name is not understood"))?, directory.join(name)));
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// A line of a log: `1` added or `2` dropped, the part, the token's block id.
struct Record {
    added: bool,
    part: String,
    block: String,
}

fn parse(text: &str) -> io::Result<Vec<Record>> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(odd("the last record is torn"));
    }
    let record = |line: &str| {
        let mut fields = line.split('\t');
        let added = match fields.next()? {
            "1" => true,
            "2" => false,
            _ => return None,
        };
        let mut field = || fields.next().filter(|field| !field.is_empty()).map(str::to_owned);
        let record = Record { added, part: field()?, block: field()? };
        fields.next().is_none().then_some(record)
    };
    let records: Option<Vec<Record>> = text.split_terminator('\n').map(record).collect();
    records.ok_or_else(|| odd("a record is not understood"))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What a part's name, `partition_min_max_level` with or without `_mutation`, says of its rows.
struct Part<'n> {
    partition: &'n str,
    first: u64,
    last: u64,
}

impl<'n> Part<'n> {
    fn parse(name: &'n str) -> Option<Self> {
        let fields: Vec<&str> = name.split('_').collect();
        let numbers = fields.iter().skip(3).all(|field| field.parse::<u64>().is_ok());
        if numbers && matches!(fields.len(), 4 | 5) { Self::from_fields(&fields) } else { None }
    }

    fn from_fields(fields: &[&'n str]) -> Option<Self> {
        let [partition, first, last, ..] = fields else { return None };
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (!partition.is_empty() && first <= last).then_some(Self { partition, first, last })
    }

    fn covers(&self, other: &Part<'_>) -> bool {
        self.partition == other.partition && self.first <= other.first && other.last <= self.last
    }
}

/// Whether the part is there, or one that it was merged or mutated into, or either of them was set aside:
/// under `detached` names have prefixes and suffixes of many kinds.
fn is_there(table: &Path, part: &Part<'_>) -> io::Result<bool> {
    for entry in fs::read_dir(table)? {
        let name = entry?.file_name();
        if name.to_str().and_then(Part::parse).is_some_and(|found| found.covers(part)) {
            return Ok(true);
        }
    }
    let detached = match fs::read_dir(table.join("detached")) {
        Ok(detached) => detached,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in detached {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let fields: Vec<&str> = name.split('_').collect();
        if fields.windows(3).filter_map(Part::from_fields).any(|found| found.covers(part)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Appends and brings it to the disk, wholly or not at all: the engine reads nothing behind half a record.
fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let length = file.metadata()?.len();
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        // The first failure is the one to tell of.
        let _ = file.set_len(length);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with one table: its log's files and the folders beside it. What is appended to the newest file.
    fn appended(logs: &[&str], folders: &[&str]) -> String {
        let store = tempfile::tempdir().unwrap();
        let table = store.path().join("abc/abcdef");
        fs::create_dir_all(table.join(LOGS)).unwrap();
        let path = |number: usize| table.join(LOGS).join(format!("deduplication_log_{number}.txt"));
        // From 9 on: as text, 10 comes before 9.
        for (index, text) in logs.iter().enumerate() {
            fs::write(path(9 + index), text).unwrap();
        }
        for folder in folders {
            fs::create_dir_all(table.join(folder)).unwrap();
        }
        let forgotten = forget_lost(store.path()).unwrap();
        for (index, text) in logs.iter().enumerate().rev().skip(1) {
            assert_eq!(
                fs::read_to_string(path(9 + index)).unwrap(),
                *text,
                "only the newest file is written"
            );
        }
        let newest = path(9 + logs.len() - 1);
        let text = fs::read_to_string(&newest).unwrap();
        let added = text.strip_prefix(logs[logs.len() - 1]).unwrap().to_owned();
        assert_eq!(added.lines().count(), forgotten);
        assert_eq!(forget_lost(store.path()).unwrap(), 0, "a second time changes nothing");
        assert_eq!(fs::read_to_string(&newest).unwrap(), text);
        added
    }

    #[test]
    fn the_newest_part_is_forgotten_when_it_is_nowhere() {
        let one = "1\t7_1_1_0\ta\n1\t7_2_2_0\tb\n";
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&[one], &["7_1_1_0", "tmp_insert_7_2_2_0"], "2\t7_2_2_0\tb\n"),
            // An older one is not looked at: it went another way.
            (&[one], &["7_2_2_0"], ""),
            // The blocks of another partition, fewer blocks, and what is being deleted do not count.
            (&[one], &["8_1_3_1", "7_1_1_1", "delete_tmp_7_2_2_0", LOGS], "2\t7_2_2_0\tb\n"),
            // Merged, mutated, set aside.
            (&[one], &["7_1_2_1"], ""),
            (&[one], &["7_2_2_0_3"], ""),
            (&[one], &["detached/broken-on-start_7_2_2_0_try1"], ""),
            (&[one], &["detached/7_1_2_1"], ""),
            (&[one], &["detached/7_1_1_0"], "2\t7_2_2_0\tb\n"),
            // A part of several tokens.
            (&["1\t7_1_1_0\ta\n1\t7_2_2_0\tb\n1\t7_2_2_0\tc\n"], &[], "2\t7_2_2_0\tb\n2\t7_2_2_0\tc\n"),
            // The newest is in an older file.
            (&[one, ""], &[], "2\t7_2_2_0\tb\n"),
            (&[one, "2\t7_1_1_0\ta\n"], &[], "2\t7_2_2_0\tb\n"),
            // It has been dropped; it has been dropped and came again.
            (&[one, "2\t7_2_2_0\tb\n"], &[], ""),
            (&["1\t7_2_2_0\tb\n2\t7_2_2_0\tb\n1\t7_2_2_0\tb\n"], &[], "2\t7_2_2_0\tb\n"),
            (&["1\tpatch-0f-all_2_2_0\tb\n"], &["all_2_2_0"], "2\tpatch-0f-all_2_2_0\tb\n"),
            (&[""], &[], ""),
        ];
        for (logs, folders, expected) in cases {
            assert_eq!(appended(logs, folders), *expected, "{logs:?} beside {folders:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for text in [
            "1\t7_2_2_0\tb",
            "1\t7_1_1_0\ta\n1\t7_2",
            "3\t7_2_2_0\tb\n",
            "1\t7_2_2_0\n",
            "1\t7_2_2_0\tb\tc\n",
            "1\t7_2_2_0\t\n",
            "\n",
            "1\t7_2_2\tb\n",
            "1\t20260101_20260131_1_1_0\tb\n",
            "1\t7_2_x_0\tb\n",
            "1\t7_2_2_0_1_1\tb\n",
            "1\t7_3_2_0\tb\n",
        ] {
            assert_eq!(appended(&[text], &[]), "", "{text:?}");
        }
        let store = tempfile::tempdir().unwrap();
        assert_eq!(forget_lost(&store.path().join("missing")).unwrap(), 0);
        let logs = store.path().join("abc/abcdef").join(LOGS);
        fs::create_dir_all(&logs).unwrap();
        assert_eq!(forget_lost(store.path()).unwrap(), 0);
        fs::write(logs.join("deduplication_log_1.txt"), "1\t7_2_2_0\tb\n").unwrap();
        fs::write(logs.join("deduplication_log_1.txt~"), "").unwrap();
        assert_eq!(forget_lost(store.path()).unwrap(), 0, "a file of another name");
    }

    #[test]
    fn a_failure_to_write_is_told() {
        let missing = tempfile::tempdir().unwrap().path().join("log");
        assert!(append(&missing, "x").is_err());
    }
}
