//! What can go wrong on the way into the cache, each with a small archive in place of the real one.

use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::*;

const CONTENT: &[u8] = b"stands in for the library";

/// A directory with an archive in npm's layout, and the digest of the library in it.
fn archive(top: &str) -> (TempDir, PathBuf, String) {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("content").join(top);
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join(LIBRARY), CONTENT).unwrap();
    let path = directory.path().join("given.tgz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&path).arg("-C").arg(directory.path().join("content")).arg(".");
    command::run_quietly(&mut tar).unwrap();
    let sha256 = digest(&inner.join(LIBRARY)).unwrap();
    (directory, path, sha256)
}

fn given(path: &Path) -> Result<Archive> {
    Ok(Archive { path: path.to_owned(), ours: false })
}

fn never(_: &Path) -> Result<Archive> {
    panic!("it is cached and must not be fetched")
}

#[test]
fn installs_once_from_either_layout() {
    for top in ["package", ""] {
        let (_keep, path, sha256) = archive(top);
        let cache = tempfile::tempdir().unwrap();
        let directory = cache.path().join("engine/1");
        let library = ensure(&directory, &sha256, |_| given(&path)).unwrap();
        assert_eq!(fs::read(&library).unwrap(), CONTENT);
        assert_eq!(ensure(&directory, &sha256, never).unwrap(), library);
        assert!(path.exists(), "the user's archive is not ours to delete");
        assert!(!directory.join("tmp.unpacked").exists());
    }
}

#[test]
fn a_library_without_marker_is_checked_and_adopted() {
    let (_keep, path, sha256) = archive("package");
    let cache = tempfile::tempdir().unwrap();
    ensure(cache.path(), &sha256, |_| given(&path)).unwrap();
    fs::remove_file(marker(cache.path())).unwrap();
    ensure(cache.path(), &sha256, never).unwrap();
}

#[test]
fn a_wrong_digest_installs_nothing_and_removes_the_download() {
    let (_keep, path, _) = archive("package");
    let cache = tempfile::tempdir().unwrap();
    let downloaded = cache.path().join("archive.tgz");
    let error = ensure(cache.path(), &"0".repeat(64), |_| {
        fs::copy(&path, &downloaded)?;
        Ok(Archive { path: downloaded.clone(), ours: true })
    });
    let message = format!("{:#}", error.unwrap_err());
    assert!(message.contains("not the pinned one"), "{message}");
    let left: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn a_damaged_library_or_archive_is_replaced() {
    let (_keep, path, sha256) = archive("package");
    let cache = tempfile::tempdir().unwrap();
    let library = ensure(cache.path(), &sha256, |_| given(&path)).unwrap();
    fs::write(&library, b"truncated").unwrap();
    ensure(cache.path(), &sha256, |_| given(&path)).unwrap();
    assert_eq!(fs::read(&library).unwrap(), CONTENT);

    fs::remove_file(&library).unwrap();
    let cut = cache.path().join("archive.tgz");
    fs::write(&cut, &fs::read(&path).unwrap()[..60]).unwrap();
    let result = ensure(cache.path(), &sha256, |_| Ok(Archive { path: cut.clone(), ours: true }));
    let message = format!("{:#}", result.unwrap_err());
    assert!(message.contains("damaged") && !cut.exists(), "{message}");
}

#[test]
fn a_killed_run_leaves_nothing_that_hurts() {
    let (_keep, path, sha256) = archive("package");
    let cache = tempfile::tempdir().unwrap();
    fs::create_dir_all(cache.path().join("tmp.unpacked/package")).unwrap();
    fs::write(cache.path().join("tmp.unpacked/package").join(LIBRARY), b"half").unwrap();
    fs::write(cache.path().join("tmp.marker"), b"half").unwrap();
    let library = ensure(cache.path(), &sha256, |_| given(&path)).unwrap();
    assert_eq!(fs::read(library).unwrap(), CONTENT);
}

#[test]
fn two_at_once_fetch_once() {
    let (_keep, path, sha256) = archive("package");
    let cache = tempfile::tempdir().unwrap();
    let fetched = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let obtain = |_: &Path| {
                    fetched.fetch_add(1, Ordering::SeqCst);
                    given(&path)
                };
                ensure(cache.path(), &sha256, obtain).unwrap();
            });
        }
    });
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}
