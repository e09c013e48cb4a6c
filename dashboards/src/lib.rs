#![doc = include_str!("../README.md")]

mod dashboard;
mod error;
mod link;
mod panel;
mod read;
mod source;
mod target;
mod variable;

use std::path::Path;

pub use error::{Error, Mistake};

/// A generated file: its path within the folder of this crate, and what it has to hold.
pub type File = (String, String);

/// Every dashboard as Grafana's JSON, from the sources in `folder` (the folder of this crate).
///
/// # Errors
/// When a source can't be read, or says what can't be: all mistakes at once, each with its place.
pub fn generate(folder: &Path) -> Result<Vec<File>, Error> {
    let all = read::all(folder)?;
    let mut mistakes = Vec::new();
    let files = all.dashboards.iter().map(|(name, source)| {
        let mut json = dashboard::json(&all, name, source, &mut mistakes);
        // Whether objects keep the order of insertion is another crate's choice of features.
        json.sort_all_objects();
        (format!("grafana/{}.json", source.uid), format!("{json:#}\n"))
    });
    let files = files.collect();
    if mistakes.is_empty() { Ok(files) } else { Err(Error::Mistakes(mistakes)) }
}
