//! Files that are missing, foreign, newer, damaged or on a full disk; and the modes of ours.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use event_log::spool::{OpenError, Spool, SpoolConfig};
use event_log::{AppendError, ConsumeError, EventLogMetrics, Message, Producer};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use crate::{config, records, spool};

async fn sql(path: &Path, statement: &'static str) {
    let mut db = SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let producer = spool(dir.path()).producer(EventLogMetrics::default());
    producer.append(vec![Message::events("a", 1)]).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("spool")), 0o700);
    for file in std::fs::read_dir(dir.path().join("spool")).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}

#[tokio::test]
async fn files_that_are_not_ours_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let log = dir.path().join("spool/log.db");
    assert!(matches!(spool.totals().await, Err(ConsumeError::Unavailable(_))), "not created by looking");
    assert!(!log.exists());
    spool.open().await.unwrap();
    sql(&log, "PRAGMA user_version = 2").await;
    let newer = spool.open().await;
    assert!(matches!(newer, Err(OpenError::Newer { found: 2, supported: 1 })), "{newer:?}");
    let producer = spool.producer(EventLogMetrics::default());
    assert!(matches!(producer.append(vec![Message::events("a", 1)]).await, Err(AppendError::Broken(_))));
    assert!(matches!(spool.consumer("g").await, Err(ConsumeError::Broken(_))));
    producer.close().await;

    std::fs::remove_dir_all(dir.path().join("spool")).unwrap();
    std::fs::create_dir(dir.path().join("spool")).unwrap();
    sql(&log, "CREATE TABLE other (x)").await;
    let before = std::fs::read(&log).unwrap();
    assert!(matches!(spool.open().await, Err(OpenError::Foreign)));
    assert_eq!(std::fs::read(&log).unwrap(), before);

    std::fs::write(&log, "this is no database at all, just some text that is longer than a header".repeat(9))
        .unwrap();
    assert!(matches!(spool.open().await, Err(OpenError::Broken(_))));
}

#[tokio::test]
async fn a_path_that_cannot_be_made_is_retryable_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    std::fs::write(dir.path().join("spool"), "in the way").unwrap();
    let producer = spool.producer(EventLogMetrics::default());
    let error = producer.append(vec![Message::events("a", 1)]).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)) && error.is_retryable(), "{error:?}");
    std::fs::remove_file(dir.path().join("spool")).unwrap();
    producer.append(vec![Message::events("a", 1)]).await.unwrap();
}

#[tokio::test]
async fn a_damaged_page_is_broken_not_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    producer.append((0..200).map(|_| Message::events(vec![b'x'; 3000], 1)).collect()).await.unwrap();
    producer.close().await;
    let log = dir.path().join("spool/log.db");
    let mut bytes = std::fs::read(&log).unwrap();
    // All of the tree but the pages of the header and of the other tables.
    bytes[10 * 4096..].fill(0xA5);
    std::fs::write(&log, bytes).unwrap();
    let mut consumer = spool.consumer("g").await.unwrap();
    let error = loop {
        if let Err(error) = event_log::Consumer::next(&mut consumer, crate::PATIENCE).await {
            break error;
        }
    };
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
}

/// A file system of 8 MiB of its own; `None` where the kernel does not let us.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {:?}", self.0.path());
        }
    }
}

#[tokio::test]
async fn a_disk_that_is_full_heals_when_there_is_space() {
    let Some(disk) = Tmpfs::mount() else {
        eprintln!("NOT COVERED: a real full disk (no permission to mount a tmpfs); the injected one is");
        return;
    };
    let spool = Spool::new(SpoolConfig { retain_bytes: 0, ..config(disk.0.path()) });
    let producer = spool.producer(EventLogMetrics::default());
    let message = || vec![Message::events(vec![b'x'; 100_000], 1)];
    producer.append(message()).await.unwrap();
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 3 << 20]).unwrap();
    let mut accepted = 1;
    let error = loop {
        match producer.append(message()).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::DiskFull(_)), "{error:?}");
    std::fs::remove_file(&ballast).unwrap();
    for _ in 0..5 {
        producer.append(message()).await.unwrap();
        accepted += 1;
    }
    let mut consumer = spool.consumer("g").await.unwrap();
    let mut read = 0;
    while read < accepted {
        for record in records(&mut consumer).await {
            assert_eq!(record.offset, read);
            read += 1;
        }
    }
    assert_eq!(spool.totals().await.unwrap()[0].end_offset, accepted);
}
