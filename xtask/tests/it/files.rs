//! What every tracked file has to keep to: length, and no trace of the machine it was written on.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The design's limit for a source file, tests included.
const LINES_MAX: usize = 500;

/// Put together here so that this file does not name what it forbids.
fn forbidden() -> Vec<String> {
    let home = ["/ro", "ot/"].concat();
    let checkout = ["/wo", "rk/"].concat();
    let hosts =
        [["registry.npm", "js.org"], ["static.cr", "ates.io"], ["index.cr", "ates.io"], ["py", "pi.org"]];
    let more = [["files.python", "hosted.org"], ["repo1.ma", "ven.org"], ["deb.deb", "ian.org"]];
    let mut all = vec![home, checkout];
    all.extend(hosts.iter().chain(&more).map(|parts| parts.concat()));
    all
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn tracked() -> Vec<PathBuf> {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(git.status.success(), "git ls-files: {}", String::from_utf8_lossy(&git.stderr));
    let names = String::from_utf8(git.stdout).unwrap();
    let files: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
    // A file may be deleted in the working tree and not yet in the index.
    files.into_iter().filter(|file| root().join(file).is_file()).collect()
}

fn text_of(file: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(file)).unwrap()).ok()
}

#[test]
fn no_source_file_is_too_long() {
    let sources = tracked().into_iter().filter(|file| {
        file.extension()
            .is_some_and(|extension| ["rs", "py", "sh", "sql"].iter().any(|known| extension == *known))
    });
    let long: Vec<_> = sources
        .map(|file| (text_of(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "longer than {LINES_MAX} lines: {long:?}");
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let forbidden = forbidden();
    let mut found = Vec::new();
    for file in tracked() {
        // cargo writes its own registry's address in the lock file, whichever mirror was used.
        if file == Path::new("Cargo.lock") {
            continue;
        }
        let Some(text) = text_of(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            found.extend(
                forbidden
                    .iter()
                    .filter(|word| line.contains(word.as_str()))
                    .map(|word| format!("{}:{}: {word}", file.display(), number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "machine paths or registry hosts:\n{}", found.join("\n"));
}
