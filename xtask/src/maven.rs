//! The Java programs that tests start: the jars a pom of ours names, fetched by `mvn` and kept in the cache.
//! It does not start them and knows nothing of Java; that is the crate `testbed`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{command, engine};

/// The plugin that copies the jars. Pinned, so that a build of next year does what it does today.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// The folder with the jars of `xtask/NAME/pom.xml`; fetched where they are missing or are of another pom.
pub(crate) fn libs(name: &str) -> Result<PathBuf> {
    let pom = command::root()?.join("xtask").join(name).join("pom.xml");
    let wanted = fs::read_to_string(&pom).with_context(|| format!("{} cannot be read", pom.display()))?;
    let version = version(&wanted).context("the pom names no version")?;
    let tools = engine::cache_dir()?.join("tools");
    ensure(&tools, &format!("{name}-{version}"), &wanted, |libs| copy(&pom, libs))
}

/// The first `<version>` of a pom of ours is the project's own.
fn version(pom: &str) -> Option<&str> {
    let (_, rest) = pom.split_once("<version>")?;
    Some(rest.split_once("</version>")?.0)
}

/// `TOOLS/NAME/libs`, filled by `fill` unless a copy of the very same pom lies beside it. Everything is made under
/// another name and renamed, so what has the name is whole.
fn ensure(tools: &Path, name: &str, pom: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let directory = tools.join(name);
    let is_current = || fs::read_to_string(directory.join("pom.xml")).is_ok_and(|found| found == pom);
    if is_current() {
        return Ok(directory.join("libs"));
    }
    fs::create_dir_all(tools)?;
    // The lock goes with the process, so a kill leaves none behind.
    let lock = File::create(tools.join(format!("{name}.lock")))?;
    lock.lock().context("could not lock the cache")?;
    if is_current() {
        return Ok(directory.join("libs"));
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    // What a killed run left. Its maven may still be writing there, so ours gets a folder of another name.
    let leftovers = format!("tmp.{name}.");
    for entry in fs::read_dir(tools)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&leftovers) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let temporary = tools.join(format!("{leftovers}{}", std::process::id()));
    let libs = temporary.join("libs");
    fs::create_dir_all(&libs)?;
    fill(&libs)?;
    let is_jar = |path: &Path| path.extension().is_some_and(|extension| extension == "jar");
    if !fs::read_dir(&libs)?.any(|entry| entry.is_ok_and(|entry| is_jar(&entry.path()))) {
        bail!("maven fetched no jar for {name}");
    }
    fs::write(temporary.join("pom.xml"), pom)?;
    fs::rename(&temporary, &directory)?;
    Ok(directory.join("libs"))
}

fn copy(pom: &Path, libs: &Path) -> Result<()> {
    let mut maven = Command::new("mvn");
    // A jar whose checksum differs from the repository's is a failure and no warning.
    maven
        .args(["--batch-mode", "--quiet", "--no-transfer-progress", "--strict-checksums", "--file"])
        .arg(pom);
    maven.args([COPY, "-DincludeScope=runtime"]).arg(format!("-DoutputDirectory={}", libs.display()));
    command::run(maven.stdin(Stdio::null()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::path::Path;

    use anyhow::bail;

    use super::{ensure, version};

    #[test]
    fn each_pom_names_its_version_first() {
        for (pom, artifact) in [
            (include_str!("../kafka/pom.xml"), "kafka_2.13"),
            (include_str!("../zookeeper/pom.xml"), "<artifactId>zookeeper"),
        ] {
            assert!(version(pom).unwrap().starts_with(|first: char| first.is_ascii_digit()));
            assert!(pom.contains(artifact) && pom.contains("${project.version}"));
        }
        assert_eq!(version("<project/>"), None);
    }

    #[test]
    fn jars_are_fetched_once_for_each_pom_and_whole_or_not_at_all() {
        let tools = tempfile::tempdir().unwrap();
        let fetched = Cell::new(0);
        let fetch = |libs: &Path| {
            fetched.set(fetched.get() + 1);
            Ok(fs::write(libs.join(format!("{}.jar", fetched.get())), "")?)
        };
        let jars = |libs: &Path| {
            fs::read_dir(libs).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        for (pom, expected) in [("one", "1.jar"), ("one", "1.jar"), ("two", "2.jar"), ("two", "2.jar")] {
            let libs = ensure(tools.path(), "a-1", pom, fetch).unwrap();
            assert_eq!(jars(&libs), [expected], "pom {pom}");
        }
        let killed_half_way = |libs: &Path| {
            fs::write(libs.join("half.jar"), "")?;
            bail!("killed")
        };
        assert!(ensure(tools.path(), "a-2", "pom", killed_half_way).is_err());
        assert!(!tools.path().join("a-2").exists());
        assert_eq!(jars(&ensure(tools.path(), "a-2", "pom", fetch).unwrap()), ["3.jar"]);
        let names = fs::read_dir(tools.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with("tmp.")), "left over");
        assert!(ensure(tools.path(), "a-3", "pom", |_| Ok(())).is_err(), "no jar at all");
    }
}
