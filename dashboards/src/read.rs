//! Reads the sources. What they say is looked at elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::Error;
use crate::source::{Common, Dashboard};

/// Everything that is in the folder.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) common: Common,
    /// By file name, in the order of `common`.
    pub(crate) dashboards: Vec<(String, Dashboard)>,
    /// By folder and file name.
    pub(crate) queries: BTreeMap<String, String>,
}

impl Sources {
    pub(crate) fn dashboard(&self, name: &str) -> Option<&Dashboard> {
        self.dashboards.iter().find(|(known, _)| known == name).map(|(_, dashboard)| dashboard)
    }
}

pub(crate) fn all(folder: &Path) -> Result<Sources, Error> {
    let common: Common = parsed(&folder.join("common.toml"))?;
    let dashboards = common.dashboards.iter();
    let dashboards = dashboards.map(|name| Ok((name.clone(), parsed(&folder.join(format!("{name}.toml")))?)));
    let dashboards = dashboards.collect::<Result<_, Error>>()?;
    let mut queries = BTreeMap::new();
    for group in children(&folder.join("queries"))? {
        for file in children(&folder.join("queries").join(&group))? {
            let name = format!("{group}/{file}");
            let text = text(&folder.join("queries").join(&name))?;
            queries.insert(name, text.trim_end().to_owned());
        }
    }
    Ok(Sources { common, dashboards, queries })
}

fn children(folder: &Path) -> Result<Vec<String>, Error> {
    let unreadable = |source| Error::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    names.sort();
    Ok(names)
}

fn text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    toml::from_str(&text(path)?).map_err(|source| Error::Form { path: path.to_owned(), source })
}
