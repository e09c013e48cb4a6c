//! Finds what Java programs need: jars in the folder that `cargo xtask test` names or in its cache, `java`, `setpriv`.
//! It fetches nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program in Java that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Java {
    libs: PathBuf,
}

impl Java {
    /// Where the jars of `name` are: in the folder that `variable` names, else in the cache, in the version of the pom.
    ///
    /// # Errors
    /// In words, what is missing.
    pub(crate) fn find(name: &str, variable: &str, pom: &str) -> Result<Self, String> {
        let libs = match set(variable) {
            Some(named) => named,
            None => cache().join("tools").join(format!("{name}-{}", version(pom))).join("libs"),
        };
        if !libs.is_dir() {
            return Err(format!("no jars in {}; `cargo xtask test` fetches them", libs.display()));
        }
        for program in ["java", "setpriv"] {
            needs(program)?;
        }
        Ok(Self { libs })
    }

    /// `java` with a small heap and a quick start, up to the main class.
    pub(crate) fn command(&self, heap_mb: u32, properties: &[String], main: &str) -> Command {
        let mut command = Command::new("java");
        command.arg(format!("-Xmx{heap_mb}m"));
        // Tests are short: compiling well and collecting on several threads would cost more than it brings.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]);
        command.args(properties.iter().map(|property| format!("-D{property}")));
        command.arg("-cp").arg(self.libs.join("*")).arg(main);
        command
    }
}

/// # Errors
/// When there is no program of that name.
pub(crate) fn needs(program: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    // Every one of them ends at once with either.
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(|_| ()).map_err(|error| format!("{program}: {error}"))
}

/// The project's own version, which is the first in a pom of ours.
fn version(pom: &str) -> &str {
    let (_, rest) = pom.split_once("<version>").expect("the pom has a version");
    rest.split_once("</version>").expect("the version has an end").0
}

fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The cache of `cargo xtask`, found as it finds it.
pub(crate) fn cache() -> PathBuf {
    let shared = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    set("HOPLOG_CACHE_DIR")
        .or_else(|| shared().map(|shared| shared.join("hoplog")))
        .unwrap_or_else(|| Path::new("/nonexistent").to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Java, needs};

    #[test]
    fn what_is_missing_is_named() {
        let pom = "<project><version>0.0.1-none</version></project>";
        let missing = Java::find("kafka", "TESTBED_NO_SUCH_VARIABLE", pom).unwrap_err();
        assert!(missing.contains("kafka-0.0.1-none") && missing.contains("cargo xtask test"), "{missing}");
        assert!(needs("no-such-program").unwrap_err().contains("no-such-program"));
    }
}
