//! `HOPLOG_…` variables: which setting each stands for, and what its text may mean.
//!
//! A variable has no type. Its text is read as a number, truth value, list or table where it looks like one, and taken as
//! it stands where a text is wanted after all: a password may be all digits. Which settings there are is not known here.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use figment::value::Value;

use super::load::{Mistake, PREFIX};

/// Variables with the prefix that are not configuration: they say where to find it, or belong to other commands.
const NOT_CONFIGURATION: &[&str] =
    &["CONFIG", "DATA", "PORT_BASE", "LOG", "CACHE_DIR", "ENGINE_ARCHIVE", "ENGINE_SHA256", "URL", "API_KEY"];

/// Ends a variable that names a file with the value, as Docker and Kubernetes mount secrets.
const FILE_SUFFIX: &str = "_file";

/// Largest file with a value, bytes: far above every password and key, and not what one gets of a device.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// One variable.
#[derive(Debug)]
pub(super) struct Variable {
    /// As it is called, for whoever has to mend it.
    pub(super) name: String,
    /// The setting it stands for.
    pub(super) path: Vec<String>,
    text: String,
    /// What the text may mean; the likeliest last.
    meanings: Vec<Value>,
}

impl Variable {
    fn new(name: String, path: Vec<String>, text: String) -> Self {
        let literally = Value::from(text.clone());
        // A parse that can't fail: what looks like nothing else is a text.
        let parsed = text.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
        Self { name, path, text, meanings: vec![literally, parsed] }
    }

    /// What its text means; the next time, what else it may mean.
    pub(super) fn meaning(&mut self) -> Option<Value> {
        self.meanings.pop()
    }

    /// Whether it may name a file. Only asked where there is no setting of that name: some end so by themselves.
    pub(super) fn may_name_a_file(&self) -> bool {
        self.path.last().is_some_and(|name| name.len() > FILE_SUFFIX.len() && name.ends_with(FILE_SUFFIX))
    }

    /// The setting whose value is in the file that this variable names. Text comes first here: it is mostly a secret.
    ///
    /// # Errors
    /// When the file can't be read, or holds no value.
    pub(super) fn read_file(self) -> Result<Self, Mistake> {
        let wrong = |problem: String| Mistake { variable: self.name.clone(), problem };
        let text = read(Path::new(&self.text)).map_err(wrong)?;
        let mut path = self.path;
        if let Some(name) = path.last_mut() {
            name.truncate(name.len() - FILE_SUFFIX.len());
        }
        let mut variable = Self::new(self.name, path, text);
        variable.meanings.reverse();
        Ok(variable)
    }
}

/// The file's text, without the line's end that editors and `echo` leave.
fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the file it names can't be read: {error}");
    let mut text = String::new();
    File::open(path)
        .map_err(unreadable)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file it names is larger than {FILE_BYTES_MAX} bytes"));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err("the file it names is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// All that are set, in the order of their names, so that a section comes before what is in it.
pub(super) fn variables() -> (Vec<Variable>, Vec<Mistake>) {
    let (mut variables, mut mistakes) = (Vec::new(), Vec::new());
    for (name, text) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let Some((prefix, rest)) = name.split_at_checked(PREFIX.len()) else { continue };
        let is_ours = prefix.eq_ignore_ascii_case(PREFIX)
            && !NOT_CONFIGURATION.iter().any(|other| other.eq_ignore_ascii_case(rest));
        if !is_ours {
            continue;
        }
        let path = rest.to_lowercase().split("__").map(str::to_owned).collect();
        match text.into_string() {
            Ok(text) => variables.push(Variable::new(name.to_owned(), path, text)),
            Err(_) => {
                mistakes.push(Mistake { variable: name.to_owned(), problem: "is not UTF-8".to_owned() })
            }
        }
    }
    variables.sort_by(|a, b| a.path.cmp(&b.path));
    (variables, mistakes)
}
