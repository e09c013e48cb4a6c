//! Where parts keep their data and on which ports they listen. A process has one directory, whose lock tells others that
//! it lives; the directories of those that don't are removed here. Parts and their files are not known here.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

/// What our directories in the system's temporary directory are called.
const PREFIX: &str = "hoplog-testbed-";

/// The directory of this process; the lock is held as long as the process lives.
struct Own {
    path: PathBuf,
    _lock: File,
}

static OWN: LazyLock<Own> = LazyLock::new(|| {
    remove_abandoned(&std::env::temp_dir());
    let path = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("no temporary directory").keep();
    let lock = File::create(lock_of(&path)).expect("the temporary directory can't be written to");
    lock.lock().expect("a file can't be locked");
    Own { path, _lock: lock }
});

/// A new directory for a part, removed with the value.
pub(crate) fn directory(part: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("{part}-"))
        .tempdir_in(&OWN.path)
        .expect("no temporary directory")
}

/// Beside the directory and not in it: it is there before the directory can be seen without, and goes last.
fn lock_of(directory: &Path) -> PathBuf {
    directory.with_extension("lock")
}

/// Removes what processes left that are no more. What can't be removed is left to the next one.
fn remove_abandoned(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !ours || path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(lock) = File::open(&path) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(path.with_extension(""));
            let _ = fs::remove_file(&path);
        }
    }
}

/// A port of 127.0.0.1 on which nobody listens. It is below those that the system gives to outgoing connections: none of
/// them can sit on it while a part that is to come back to it is down, and a client that tries meanwhile can't connect to
/// itself. No other test of this process gets it.
///
/// # Panics
/// When every port of the range is taken.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many in a row.
///
/// # Panics
/// As [`free_port`].
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    // Each process begins elsewhere, so that two at once do not try the same port.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let scattered = std::process::id().wrapping_mul(2_654_435_761) % u32::from(COUNT);
        AtomicU16::new(u16::try_from(scattered).unwrap_or(0))
    });
    let candidates = (0..COUNT).map(|_| FIRST + NEXT.fetch_add(count, Ordering::Relaxed) % COUNT);
    first_free(candidates, count).expect("no port is free")
}

fn first_free(mut candidates: impl Iterator<Item = u16>, count: u16) -> Option<u16> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    candidates.find(|first| (*first..first + count).all(is_free))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::net::TcpListener;

    use super::{PREFIX, first_free, free_port, free_ports, lock_of, remove_abandoned};

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = temporary.path().join(name);
            fs::create_dir_all(path.join("kafka")).unwrap();
            let lock = File::create(lock_of(&path)).unwrap();
            (path, lock)
        };
        let (living, lock) = make(&format!("{PREFIX}living"));
        lock.lock().unwrap();
        let (dead, _) = make(&format!("{PREFIX}dead"));
        let (foreign, _) = make("foreign");
        remove_abandoned(temporary.path());
        assert!(living.exists() && lock_of(&living).exists());
        assert!(!dead.exists() && !lock_of(&dead).exists());
        assert!(foreign.exists() && lock_of(&foreign).exists());
    }

    #[test]
    fn a_port_that_is_taken_is_not_given() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(first_free([port].into_iter(), 1), None);
        let (one, other) = (free_port(), free_port());
        assert!(one != other && (12_000..32_000).contains(&one), "{one} {other}");
        let (row, next) = (free_ports(5), free_port());
        assert!(!(row..row + 5).contains(&next), "{row} {next}");
    }
}
