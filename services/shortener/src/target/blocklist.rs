//! Hosts that no link may lead to, from files that others maintain: one host a line, which stands for all names below
//! it, too, or lines of a hosts file. Millions of lines are fine: a host takes 8 bytes.
//! Nothing is resolved, and nothing fetched; who asks decides what becomes of a link.

use std::collections::hash_map::RandomState;
use std::fs::{File, Metadata};
use std::hash::BuildHasher as _;
use std::io::{self, BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use url::Host;

/// Time between looks at the files: soon enough for lists that change a few times a day.
const LOOK: Duration = Duration::from_secs(10);

/// Why a list can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the blocklist {} can't be read", path.display())]
pub struct BlocklistError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The hosts of all files.
#[derive(Debug, Default)]
pub struct Blocklist {
    files: Vec<PathBuf>,
    hosts: RwLock<Arc<Hosts>>,
}

/// Hashes of hosts, sorted. Of two different hosts among millions, two share a hash once in a million million lists,
/// and nobody can aim at it, as the key is another one each time.
#[derive(Debug, Default)]
struct Hosts {
    key: RandomState,
    hashes: Vec<u64>,
    /// What the files were when they were read.
    stamps: Vec<Stamp>,
}

type Stamp = (u64, Option<SystemTime>);

impl Blocklist {
    /// Reads the files, and again whenever one of them changes; a file that can't be read then leaves all as it is.
    ///
    /// # Errors
    /// When a file can't be read now.
    ///
    /// # Panics
    /// Outside a tokio runtime, if there are files.
    pub fn open(files: &[PathBuf]) -> Result<Arc<Self>, BlocklistError> {
        let hosts = RwLock::new(Arc::new(Hosts::read(files)?));
        let list = Arc::new(Self { files: files.to_vec(), hosts });
        if !files.is_empty() {
            tokio::spawn(follow(Arc::downgrade(&list)));
        }
        Ok(list)
    }

    /// Whether a host, as URLs have it, or one that it is below, is on a list.
    pub fn blocks(&self, host: &str) -> bool {
        if self.files.is_empty() {
            return false;
        }
        self.hosts().block(host)
    }

    /// Hosts on the lists.
    pub fn len(&self) -> usize {
        self.hosts().hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn hosts(&self) -> Arc<Hosts> {
        Arc::clone(&self.hosts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files if one has changed; returns whether that was so. Takes as long as a disk does.
    fn look(&self) -> Result<bool, BlocklistError> {
        if stamps(&self.files)? == self.hosts().stamps {
            return Ok(false);
        }
        let hosts = Arc::new(Hosts::read(&self.files)?);
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = hosts;
        Ok(true)
    }
}

async fn follow(list: Weak<Blocklist>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(list) = list.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || (list.look(), list.len())).await;
        match looked {
            Ok((Ok(false), _)) | Err(_) => {}
            Ok((Ok(true), hosts)) => tracing::info!(hosts, "the blocklist has changed"),
            Ok((Err(error), hosts)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                hosts,
                "the blocklist stays as it was"
            ),
        }
    }
}

impl Hosts {
    fn read(files: &[PathBuf]) -> Result<Self, BlocklistError> {
        // Before reading: what changes meanwhile is read again.
        let mut hosts = Self { stamps: stamps(files)?, ..Self::default() };
        for path in files {
            let failed = |source| BlocklistError { path: path.clone(), source };
            let mut lines = BufReader::new(File::open(path).map_err(failed)?);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
                // What is no text is no host.
                if let Ok(text) = std::str::from_utf8(&line) {
                    hosts.add(text);
                }
                line.clear();
            }
        }
        hosts.hashes.sort_unstable();
        hosts.hashes.dedup();
        hosts.hashes.shrink_to_fit();
        Ok(hosts)
    }

    /// Adds what a line names: a host, or, after an address, names as in a hosts file.
    fn add(&mut self, line: &str) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { return };
        let mut names = words.peekable();
        if first.parse::<IpAddr>().is_ok() && names.peek().is_some() {
            // A hosts file names this machine, too: `localhost` and others without a dot.
            for name in names.filter(|name| name.contains('.')) {
                self.add_host(name);
            }
        } else {
            self.add_host(first);
        }
    }

    fn add_host(&mut self, text: &str) {
        let text = text.trim_start_matches("*.").trim_matches('.');
        let host = match Host::parse(text) {
            Ok(Host::Domain(name)) => name,
            // As URLs have it.
            Ok(host) => host.to_string(),
            Err(_) => match text.parse::<IpAddr>() {
                Ok(IpAddr::V6(address)) => format!("[{address}]"),
                _ => return,
            },
        };
        if host != "0.0.0.0" {
            self.hashes.push(self.key.hash_one(&*host));
        }
    }

    fn block(&self, host: &str) -> bool {
        let mut rest = host.strip_suffix('.').unwrap_or(host);
        loop {
            if self.hashes.binary_search(&self.key.hash_one(rest)).is_ok() {
                return true;
            }
            match rest.split_once('.') {
                Some((_, above)) => rest = above,
                None => return false,
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Result<Vec<Stamp>, BlocklistError> {
    let stamp = |file: Metadata| (file.len(), file.modified().ok());
    let of = |path: &PathBuf| {
        std::fs::metadata(path).map(stamp).map_err(|source| BlocklistError { path: path.clone(), source })
    };
    files.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Hosts {
        let mut hosts = Hosts::default();
        text.lines().for_each(|line| hosts.add(line));
        hosts.hashes.sort_unstable();
        hosts
    }

    #[test]
    fn lines_block_hosts_and_what_is_below() {
        let hosts = hosts(
            "# a list\n\nbad.example\n*.worse.example # and why\n0.0.0.0 ads.example track.example\n\
             127.0.0.1 localhost\n0.0.0.0 0.0.0.0\n192.0.2.7\n2001:db8::7\nB\u{fc}cher.Example\nno host\u{0}\n.zip\n",
        );
        for (host, blocked) in [
            ("bad.example", true),
            ("bad.example.", true),
            ("www.bad.example", true),
            ("notbad.example", false),
            ("example", false),
            ("worse.example", true),
            ("ads.example", true),
            ("x.track.example", true),
            ("localhost", false),
            ("0.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("[2001:db8::7]", true),
            ("[2001:db8::8]", false),
            ("xn--bcher-kva.example", true),
            ("file.zip", true),
            ("zip.example", false),
            ("", false),
        ] {
            assert_eq!(hosts.block(host), blocked, "{host}");
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_lost_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "bad.example\n").unwrap();
        let list = Blocklist::open(std::slice::from_ref(&path)).unwrap();
        assert!(list.blocks("bad.example") && !list.look().unwrap());
        std::fs::write(&path, "good.example\nworse.example\n").unwrap();
        assert!(list.look().unwrap());
        assert!(list.blocks("worse.example") && !list.blocks("bad.example"));
        std::fs::remove_file(&path).unwrap();
        assert!(list.look().is_err() && list.blocks("worse.example"));
        assert!(Blocklist::open(&[path]).is_err());
    }

    #[test]
    fn a_million_hosts_are_small() {
        let mut hosts = Hosts::default();
        (0..1_000_000).for_each(|number| hosts.add(&format!("0.0.0.0 host{number}.example")));
        hosts.hashes.sort_unstable();
        assert_eq!(hosts.hashes.len(), 1_000_000);
        assert!(hosts.block("host77777.example") && !hosts.block("host1000000.example"));
    }
}
