//! How fast the spool takes and gives events on this machine: `cargo run --release -p event-log --example
//! throughput [DIR]`. Prints a table; asserts only that all arrived.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use event_log::spool::{Spool, SpoolConfig, Synchronous};
use event_log::{Consumer, Delivery, EventLogMetrics, Message, Position, Producer};

/// Bytes of an event of ours, as in the field notes.
const EVENT_BYTES: usize = 371;
/// Long enough to run into checkpoints.
const DURATION: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    println!(
        "sync    events/message  appenders   appends/s    events/s    MB/s  p50 us  p99 us  read events/s"
    );
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        for (events, appenders) in [(20, 1), (20, 16), (1000, 1), (1000, 4)] {
            measure(Path::new(&parent), synchronous, events, appenders).await?;
        }
    }
    Ok(())
}

async fn measure(
    parent: &Path,
    synchronous: Synchronous,
    events: u32,
    appenders: usize,
) -> Result<(), Box<dyn Error>> {
    let path = parent.join(format!("hoplog-throughput-{}", std::process::id()));
    let spool =
        Spool::new(SpoolConfig { path: path.clone(), synchronous, bytes_max: 8 << 30, ..Default::default() });
    spool.open().await?;
    let producer = spool.producer(EventLogMetrics::default());
    let started = Instant::now();
    let tasks: Vec<_> = (0..appenders)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move {
                let payload = bytes::Bytes::from(vec![b'x'; EVENT_BYTES * events as usize]);
                let mut waits = Vec::new();
                while started.elapsed() < DURATION {
                    let called = Instant::now();
                    producer.append(vec![Message::events(payload.clone(), events)]).await?;
                    waits.push(called.elapsed());
                }
                Ok::<_, event_log::AppendError>(waits)
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    let took = started.elapsed().as_secs_f64();
    waits.sort();
    let calls = waits.len() as f64;
    let read = read(&spool, waits.len() as u64).await?;
    println!(
        "{:<7} {events:>14} {appenders:>10} {:>11.0} {:>11.0} {:>7.1} {:>7} {:>7} {:>14.0}",
        format!("{synchronous:?}"),
        calls / took,
        calls * f64::from(events) / took,
        calls * f64::from(events) * EVENT_BYTES as f64 / took / 1e6,
        waits[waits.len() / 2].as_micros(),
        waits[waits.len() * 99 / 100].as_micros(),
        calls * f64::from(events) / read.as_secs_f64(),
    );
    producer.close().await;
    std::fs::remove_dir_all(path)?;
    Ok(())
}

/// Reads and commits all of it.
async fn read(spool: &Spool, messages: u64) -> Result<Duration, Box<dyn Error>> {
    let mut consumer = spool.consumer("throughput").await?;
    let started = Instant::now();
    let mut offset = 0;
    while offset < messages {
        if let Delivery::Records { partition, records } = consumer.next(Duration::from_secs(1)).await? {
            offset += records.len() as u64;
            consumer.committer().commit(partition, Position { offset, metadata: String::new() }).await?;
        }
    }
    Ok(started.elapsed())
}
