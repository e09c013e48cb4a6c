//! Puts a verified library into its directory, so that it is either whole and right or not there: a lock for two
//! processes at once, a temporary name and a rename for a kill half-way, the digest for everything else.
//! A marker (digest and size) spares hashing 566 MB on each start.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::archive::Archive;
use crate::command;

const LIBRARY: &str = "libchdb.so";
/// The archive (180 MB) and its content (570 MB) lie side by side for a moment.
const NEEDED_KB: u64 = 800_000;

/// The library in `directory`, put there from what `obtain` yields unless it already is.
pub(super) fn ensure(
    directory: &Path,
    sha256: &str,
    obtain: impl FnOnce(&Path) -> Result<Archive>,
) -> Result<PathBuf> {
    let library = directory.join(LIBRARY);
    if is_marked(directory, sha256) {
        return Ok(library);
    }
    fs::create_dir_all(directory)?;
    let _lock = lock(directory)?;
    // Another process may have finished while we waited.
    if is_marked(directory, sha256) {
        return Ok(library);
    }
    remove_leftovers(directory)?;
    if library.exists() {
        if digest(&library)? == sha256 {
            mark(directory, sha256)?;
            return Ok(library);
        }
        eprintln!(
            "engine: {} is not the pinned one (damaged, or another build); replacing it",
            library.display()
        );
        fs::remove_file(&library)?;
    }
    check_free_space(directory)?;
    let archive = obtain(directory)?;
    let unpacked = unpack(&archive.path, directory).and_then(|path| verify(&path, sha256).map(|()| path));
    if archive.ours && (unpacked.is_ok() || !disk_is_full(directory)) {
        fs::remove_file(&archive.path)?;
    }
    let installed = unpacked.and_then(|path| Ok(fs::rename(path, &library)?));
    // Also after a failure: nobody wants half a gigabyte of a library that is not the right one.
    remove_leftovers(directory)?;
    installed?;
    mark(directory, sha256)?;
    Ok(library)
}

fn marker(directory: &Path) -> PathBuf {
    directory.join("libchdb.so.verified")
}

/// Whether this very file was verified before: the marker names the digest and the size found then.
fn is_marked(directory: &Path, sha256: &str) -> bool {
    let Ok(file) = fs::metadata(directory.join(LIBRARY)) else { return false };
    let marked = fs::read_to_string(marker(directory)).unwrap_or_default();
    marked == format!("{sha256} {}\n", file.len())
}

fn mark(directory: &Path, sha256: &str) -> Result<()> {
    let size = fs::metadata(directory.join(LIBRARY))?.len();
    let temporary = directory.join("tmp.marker");
    fs::write(&temporary, format!("{sha256} {size}\n"))?;
    Ok(fs::rename(temporary, marker(directory))?)
}

/// The lock goes with the process, so a kill leaves none behind.
fn lock(directory: &Path) -> Result<File> {
    let file = File::create(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("engine: another process is fetching it; waiting");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("could not lock the cache"),
    }
    Ok(file)
}

/// What a killed run left; only called under the lock. A partial archive stays: its download is continued.
fn remove_leftovers(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("tmp.") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn unpack(archive: &Path, directory: &Path) -> Result<PathBuf> {
    let temporary = directory.join("tmp.unpacked");
    fs::create_dir_all(&temporary)?;
    eprintln!("engine: unpacking and checking");
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--no-same-owner", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(&temporary);
    if let Err(error) = command::run_quietly(&mut tar) {
        if disk_is_full(directory) {
            bail!("the disk is full; {} MB are needed in {}", NEEDED_KB / 1000, directory.display());
        }
        return Err(
            error.context("the archive is damaged; it is removed, run this again to download it afresh")
        );
    }
    // The npm package and the release asset differ in their top folder.
    let candidates = [temporary.join("package").join(LIBRARY), temporary.join(LIBRARY)];
    candidates.into_iter().find(|path| path.is_file()).context("the archive holds no libchdb.so")
}

fn verify(library: &Path, sha256: &str) -> Result<()> {
    let found = digest(library)?;
    if found != sha256 {
        bail!(
            "libchdb.so is not the pinned one and was not installed: SHA-256 is {found}, {sha256} is expected"
        );
    }
    Ok(())
}

fn digest(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    // One MiB: reading costs nothing beside hashing from there on.
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn check_free_space(directory: &Path) -> Result<()> {
    let already_kb = |name: &str| fs::metadata(directory.join(name)).map_or(0, |file| file.len() / 1024);
    let needed = NEEDED_KB.saturating_sub(already_kb("archive.tgz") + already_kb("archive.tgz.partial"));
    match free_kb(directory) {
        Some(free) if free < needed => bail!(
            "{} MB are free in {}, {} MB are needed; make room or set HOPLOG_CACHE_DIR",
            free / 1000,
            directory.display(),
            needed / 1000
        ),
        _ => Ok(()),
    }
}

/// Less than 20 MB: what remains when a write has just failed for want of room.
fn disk_is_full(directory: &Path) -> bool {
    free_kb(directory).is_some_and(|free| free < 20_000)
}

/// Free space in kB as `df` says it; none where it says nothing we understand, for then we had better try.
fn free_kb(directory: &Path) -> Option<u64> {
    let output = command::output(Command::new("df").arg("-Pk").arg(directory)).ok()?;
    output.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
