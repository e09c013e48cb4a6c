//! Files that are missing, foreign, newer, damaged or on a full disk; and the modes of ours.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use event_log::spool::{OpenError, Spool, SpoolConfig};
use event_log::{AppendError, ConsumeError, Consumer, EventLogMetrics, Message, Producer};
use prometheus_client::registry::Registry;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

use crate::{config, noise, records, spool};

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
        if let Err(error) = consumer.next(crate::PATIENCE).await {
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
    let message = || vec![Message::events(noise(100_000), 1)];
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

/// All that belongs to a database file, away or to another place.
fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        if Path::new(&file).exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
}

async fn refused(spool: &Spool) -> String {
    let error = spool.consumer("g").await.expect_err("a position that is not of this log");
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
    std::error::Error::source(&error).unwrap().to_string()
}

/// `kept` of the ten messages are in the older copy that is put back; without a copy the log is lost.
async fn a_log_without_its_positions(kept: Option<u32>, mend: impl AsyncFnOnce(&Spool, &Path, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(SpoolConfig { retain_bytes: 0, retain_s: 0, ..config(dir.path()) });
    let (log, copy) = (dir.path().join("spool/log.db"), dir.path().join("copy"));
    for number in 0..10 {
        let producer = spool.producer(EventLogMetrics::default());
        producer.append(vec![Message::events(format!("old {number}"), 1)]).await.unwrap();
        producer.close().await;
        if kept == Some(number + 1) {
            std::fs::copy(&log, &copy).unwrap();
        }
    }
    let mut consumer = spool.consumer("g").await.unwrap();
    assert_eq!(records(&mut consumer).await.len(), 10);
    consumer.committer().commit(0, crate::position(10, "")).await.unwrap();
    drop(consumer);
    std::fs::copy(&log, dir.path().join("right")).unwrap();
    remove(&log);
    if kept.is_some() {
        std::fs::copy(&copy, &log).unwrap();
    }

    let (metrics, mut registry) = (EventLogMetrics::default(), Registry::default());
    metrics.register(&mut registry);
    let producer = spool.producer(metrics);
    producer.append(vec![Message::events("new", 1)]).await.unwrap();
    let message = refused(&spool).await;
    for part in ["log.db", "groups.db", "offset 10 of partition 0", "\"g\""] {
        assert!(message.contains(part), "{part} in {message}");
    }
    // It stays wrong once the log is longer than the position says.
    producer.append(vec![Message::events("new", 1); 20]).await.unwrap();
    refused(&spool).await;
    let held = kept.unwrap_or(0) + 21;
    crate::retain::gauges(&registry, &[&format!("spool_depth_messages {held}")]).await;
    assert_eq!(
        spool.totals().await.unwrap()[0].first_offset,
        0,
        "retention deleted what nobody has consumed"
    );
    producer.close().await;
    refused(&spool).await;
    mend(&spool, &log, &dir.path().join("right")).await;
}

#[tokio::test]
async fn positions_beyond_the_end_of_a_lost_log_are_refused_until_they_are_removed() {
    for kept in [None, Some(4)] {
        a_log_without_its_positions(kept, async |spool, log, _| {
            remove(&log.with_file_name("groups.db"));
            let mut consumer = spool.consumer("g").await.unwrap();
            let mut offsets = 0;
            while offsets < u64::from(kept.unwrap_or(0)) + 21 {
                for record in records(&mut consumer).await {
                    assert_eq!(record.offset, offsets);
                    offsets += 1;
                }
            }
            consumer.committer().commit(0, crate::position(offsets, "")).await.unwrap();
            drop(spool.consumer("g").await.unwrap());
        })
        .await;
    }
}

#[tokio::test]
async fn positions_beyond_the_end_of_an_older_log_are_right_again_with_the_right_one() {
    a_log_without_its_positions(Some(4), async |spool, log, right| {
        remove(log);
        std::fs::copy(right, log).unwrap();
        let producer = spool.producer(EventLogMetrics::default());
        producer.append(vec![Message::events("next", 1)]).await.unwrap();
        assert_eq!(records(&mut spool.consumer("g").await.unwrap()).await[0].offset, 10);
    })
    .await;
}

#[tokio::test]
async fn a_log_that_ends_before_what_was_read_is_refused_by_a_living_consumer() {
    let dir = tempfile::tempdir().unwrap();
    let spool = spool(dir.path());
    let producer = spool.producer(EventLogMetrics::default());
    producer.append(vec![Message::events("a", 1); 10]).await.unwrap();
    let mut consumer = spool.consumer("g").await.unwrap();
    records(&mut consumer).await;
    sql(&dir.path().join("spool/log.db"), "UPDATE partitions SET next_offset = 3").await;
    for _ in 0..2 {
        let error = consumer.next(crate::PATIENCE).await.unwrap_err();
        assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
        sql(&dir.path().join("spool/groups.db"), "UPDATE positions SET offset = 10").await;
    }
    assert!(matches!(consumer.lag().await, Err(ConsumeError::Broken(_))));
}
