//! The numbers of a boot's events, and how the last one given out is known after a kill.
//!
//! With a directory, the counter itself lies in a file that is mapped into memory: counting is one atomic addition
//! and no system call, and the page cache keeps the number when the process dies, however it dies. (It is not
//! synced: a power failure may lose the latest numbers.) The living process holds a lock on its file; a file that
//! can be locked belongs to a boot that has ended, and is announced and then removed by whoever finds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use mmap_io::MemoryMappedFile;
use mmap_io::atomic::AtomicView;
use wide_event::Resource;

/// What a file begins with; the digit is the version of its layout.
const MAGIC: &[u8; 8] = b"hopseq1\n";
/// Where the highest number given out is: a u64 in the byte order of the machine.
const ISSUED_AT: usize = 64;
/// Where the number is up to which the boot was announced.
const ANNOUNCED_AT: usize = 72;
/// Where boot id, service and instance are, a line each.
const NAMES_AT: usize = 128;
/// A file is one page.
const FILE_BYTES: usize = 4096;
/// Ends the names of files that are complete.
const EXTENSION: &str = "boot";
/// A file that was never completed is left over from a kill in the middle of a start after this time.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(3600);
/// Boots that are found, and whose files are held open, at one time. They stay open while the log takes nothing, and
/// a process may often have no more than 1,024 files, of which most are its clients.
pub(crate) const ENDED_MAX: usize = 64;

/// Gives out numbers from 1.
pub(crate) enum Sequence {
    Memory(AtomicU64),
    File { counters: Counters, _lock: File },
}

/// The counters in the mapped page. The mapping is never undone: the process counts until its end.
pub(crate) struct Counters {
    issued: AtomicView<'static, AtomicU64>,
    announced: AtomicView<'static, AtomicU64>,
}

impl Sequence {
    pub(crate) fn in_memory() -> Self {
        Self::Memory(AtomicU64::new(0))
    }

    /// Makes this boot's file.
    pub(crate) fn in_directory(directory: &Path, resource: &Resource) -> io::Result<Self> {
        let temporary = directory.join(format!("{}.new", resource.boot_id));
        let path = directory.join(format!("{}.{EXTENSION}", resource.boot_id));
        let mut page = [0; FILE_BYTES];
        page[..MAGIC.len()].copy_from_slice(MAGIC);
        let names = [&resource.boot_id, &resource.service, &resource.instance];
        let names: Vec<String> = names.into_iter().map(|name| line(name)).collect();
        let names = names.concat();
        page[NAMES_AT..NAMES_AT + names.len()].copy_from_slice(names.as_bytes());
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary)?;
        file.try_lock()?;
        // Written, not only made long: a page that the disk has no room for would kill the process when touched.
        file.write_all(&page)?;
        file.sync_all()?;
        let counters = Counters::map(&temporary).map_err(io::Error::other)?;
        fs::rename(&temporary, &path)?;
        Ok(Self::File { counters, _lock: file })
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.counter().fetch_add(1, SeqCst) + 1
    }

    /// The highest number given out.
    pub(crate) fn issued(&self) -> u64 {
        self.counter().load(SeqCst)
    }

    /// Remembers that the log knows of this boot's end at that number. Should more be given out, the next boot
    /// sees it and says so.
    pub(crate) fn announced(&self, issued: u64) {
        if let Self::File { counters, .. } = self {
            // One more, since 0 is what a new file has.
            counters.announced.store(issued.saturating_add(1), SeqCst);
        }
    }

    fn counter(&self) -> &AtomicU64 {
        match self {
            Self::Memory(counter) => counter,
            Self::File { counters, .. } => counters.issued.deref(),
        }
    }
}

impl Counters {
    fn map(path: &Path) -> Result<Self, mmap_io::MmapIoError> {
        let mapping: &'static MemoryMappedFile = Box::leak(Box::new(MemoryMappedFile::open_rw(path)?));
        Ok(Self {
            issued: mapping.atomic_u64(ISSUED_AT as u64)?,
            announced: mapping.atomic_u64(ANNOUNCED_AT as u64)?,
        })
    }
}

/// A name on a line of its own, no longer than a symbol of the event.
fn line(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}\n", &clean[..clean.floor_char_boundary(128)])
}

/// A boot that has ended, whose file we hold locked.
pub(crate) struct Ended {
    path: PathBuf,
    _lock: File,
    pub(crate) boot_id: String,
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) issued: u64,
}

impl Ended {
    /// After the log has taken the announcement. Whoever else looked at the file meanwhile may announce it again,
    /// which changes nothing.
    pub(crate) fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Finds boots that have ended and were not announced, [`ENDED_MAX`] at the most; removes what is of no use.
pub(crate) fn ended(directory: &Path) -> io::Result<Vec<Ended>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let result = match extension {
            Some(EXTENSION) if found.len() < ENDED_MAX => look_at(&path),
            Some("new") => remove_left_over(&path).map(|()| None),
            _ => continue,
        };
        match result {
            Ok(ended) => found.extend(ended),
            // Another start was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let file = path.file_name().unwrap_or_default().display().to_string();
                tracing::warn!(file, error = &error as &dyn std::error::Error, "sequence file can't be read");
            }
        }
    }
    Ok(found)
}

fn look_at(path: &Path) -> io::Result<Option<Ended>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut page = Vec::with_capacity(FILE_BYTES);
    (&mut file).take(FILE_BYTES as u64).read_to_end(&mut page)?;
    let Some((names, issued, announced)) = parse(&page) else {
        // Kept for people to look at, and out of the way of the next start.
        fs::rename(path, path.with_extension("unreadable"))?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a sequence file, renamed to .unreadable",
        ));
    };
    let [boot_id, service, instance] = names;
    let ended = Ended { path: path.to_owned(), _lock: file, boot_id, service, instance, issued };
    if announced == issued.saturating_add(1) {
        ended.remove()?;
        return Ok(None);
    }
    Ok(Some(ended))
}

fn parse(page: &[u8]) -> Option<([String; 3], u64, u64)> {
    let number = |at: usize| Some(u64::from_ne_bytes(page.get(at..at + 8)?.try_into().ok()?));
    if page.len() != FILE_BYTES || !page.starts_with(MAGIC) {
        return None;
    }
    let names = std::str::from_utf8(page.get(NAMES_AT..)?).ok()?;
    let mut lines = names.split('\n').map(str::to_owned);
    let names = [lines.next()?, lines.next()?, lines.next()?];
    let complete = !names[0].is_empty() && !names[2].is_empty();
    complete.then_some((names, number(ISSUED_AT)?, number(ANNOUNCED_AT)?))
}

fn remove_left_over(path: &Path) -> io::Result<()> {
    let age = SystemTime::now().duration_since(fs::metadata(path)?.modified()?).unwrap_or_default();
    if age > LEFT_OVER_AFTER { fs::remove_file(path) } else { Ok(()) }
}
