//! Cells that spreadsheets take for text: what would be a formula gets an apostrophe in front (OWASP, CSV injection).
//! Taking it off again gives back the very text, whatever it was.

use std::borrow::Cow;

/// What a formula may begin with, also in full width; spreadsheets skip what stands before the line break.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Spreadsheets take what follows for text.
const MARK: char = '\'';

/// A text as a cell.
pub(super) fn guard(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("{MARK}{text}")) } else { Cow::Borrowed(text) }
}

/// The text of a cell. An apostrophe that [`guard`] would not have put there belongs to the text.
pub(super) fn unguard(cell: &str) -> &str {
    cell.strip_prefix(MARK).filter(|text| is_formula(text)).unwrap_or(cell)
}

/// Whether it is one but for apostrophes: those of the text itself are told from ours by there being one more.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches(MARK).starts_with(FORMULA)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_marked_and_nothing_else_is() {
        for (text, cell) in [
            ("", ""),
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r\n=1", "'\r\n=1"),
            ("＝1", "'＝1"),
            ("'=1", "''=1"),
            ("'tis", "'tis"),
            ("'", "'"),
            ("a=1", "a=1"),
            ("https://example.com/?a=-1", "https://example.com/?a=-1"),
        ] {
            assert_eq!(guard(text), cell);
            assert_eq!(unguard(cell), text);
        }
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_went_out(
            rows in prop::collection::vec(
                prop::array::uniform3("['\"=+@\t\r\n, ;|\u{feff}-]{0,3}(?s:.{0,8})"), 1..20,
            )
        ) {
            let mut file = super::super::export::lines();
            for row in &rows {
                file.write_record(row.iter().map(|text| guard(text).into_owned())).unwrap();
            }
            let file = file.into_inner().unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&file[..]);
            let read: Vec<[String; 3]> = reader
                .records()
                .map(|record| {
                    let record = record.unwrap();
                    std::array::from_fn(|at| unguard(&record[at]).to_owned())
                })
                .collect();
            prop_assert_eq!(read, rows.clone());
            for cell in rows.iter().flatten().map(|text| guard(text).into_owned()) {
                prop_assert!(!cell.starts_with(FORMULA), "{:?}", cell);
            }
        }
    }
}
