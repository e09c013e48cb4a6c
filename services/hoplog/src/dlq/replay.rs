//! `hoplog dlq replay`: letters back into the event log, each at most once unless that is overruled.
//!
//! Claimed, appended, noted as done, some at a time. Killed in between, a letter stays claimed: whether it was appended
//! only a person can find out, and nothing is sent again by itself.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use event_log::{EventLogMetrics, PAYLOAD_BYTES_MAX, Producer};
use warehouse::Warehouse;
use warehouse::dead_letters::{self, Begin, DeadLetter, LetterId, Replay as Claim};
use wide_event::Timestamp;

use super::command;
use super::messages::Messages;
use super::repair::{self, Original};
use super::select::{self, Target};
use crate::cli::Replay;
use crate::config::Config;
use crate::log;

/// Letters that are claimed and appended together: what is in doubt when this process is killed.
const BATCH_LETTERS_MAX: usize = 100;
/// Bytes of such a batch, exceeded by one letter at most.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long the event log may take for a batch: milliseconds when all is well, and longer than a broker's restart.
const APPEND_WITHIN: Duration = Duration::from_secs(60);

/// A letter that can be sent.
struct Ready {
    id: LetterId,
    /// What is sent.
    bytes: Vec<u8>,
    letter: DeadLetter,
}

/// What became of the letters.
#[derive(Debug, Default)]
struct Outcome {
    letters: usize,
    events: u64,
    refused: usize,
    /// Passed over where they were not asked for by name: sent before, or without bytes.
    done: usize,
    purged: usize,
}

struct Run<'a> {
    options: &'a Replay,
    warehouse: &'a Warehouse,
    producer: Option<Arc<dyn Producer>>,
    operator: String,
    with: Option<Vec<u8>>,
    outcome: Outcome,
}

/// Sends what was chosen; exits with 1 where a letter could not be sent.
///
/// # Errors
/// When ClickHouse or the event log can't be used; what was sent until then is said.
pub(super) async fn run(options: &Replay, warehouse: &Warehouse, config: &Config) -> Result<ExitCode> {
    let targets = select::chosen(warehouse, &options.choice, &options.collected).await?;
    let with = match &options.with {
        Some(_) if targets.len() != 1 => {
            return Err(anyhow!("--with repairs one letter, and {} were chosen", targets.len()));
        }
        Some(file) => Some(read(file)?),
        None => None,
    };
    let producer = if options.dry_run {
        None
    } else {
        let log = log::event_log_of_tool(config);
        log.open().await.context("can't open the event log")?;
        Some(log.producer(EventLogMetrics::default()).context("can't write to the event log")?)
    };
    let mut run =
        Run { options, warehouse, producer, operator: operator(config), with, outcome: Outcome::default() };
    let sent = run.send_all(&targets).await;
    if let Some(producer) = &run.producer {
        producer.close().await;
    }
    run.report();
    sent?;
    Ok(if run.outcome.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repaired bytes.
fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = PAYLOAD_BYTES_MAX as u64;
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(bound).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(bound).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("can't read {}", file.display()))?;
    Ok(bytes)
}

/// Who does it, for whoever asks later.
fn operator(config: &Config) -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string());
    format!("{user}@{}", config.service.instance)
}

impl Run<'_> {
    async fn send_all(&mut self, targets: &[Target]) -> Result<()> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for target in targets {
            if target.found.as_ref().is_some_and(|letter| self.pass_over(letter)) {
                continue;
            }
            if let Some(ready) = self.prepare(&target.id).await? {
                bytes += ready.bytes.len();
                batch.push(ready);
            }
            if batch.len() >= BATCH_LETTERS_MAX || bytes >= BATCH_BYTES_MAX {
                self.send(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        self.send(batch).await
    }

    /// Whether there is nothing to do for a letter that was not asked for by name.
    fn pass_over(&mut self, letter: &DeadLetter) -> bool {
        let done = letter.replays_begun > 0 && letter.replays_begun == letter.replays_done;
        let done = done && !self.options.force;
        self.outcome.purged += usize::from(letter.purged);
        self.outcome.done += usize::from(done && !letter.purged);
        letter.purged || done
    }

    /// Repairs and checks a letter; `None` where it can't be sent, which is said.
    async fn prepare(&mut self, id: &LetterId) -> Result<Option<Ready>> {
        let mut rows = select::one(self.warehouse, id).await?;
        // What was missing of a message has nothing to send beside what was bad in it.
        rows.sort_by_key(|letter| letter.reason == repair::MISSING);
        let letter = rows.swap_remove(0);
        if letter.purged {
            return Ok(self.refuse(id, "its bytes were purged"));
        }
        if letter.replays_begun > 0 && !self.options.force {
            let interrupted = letter.replays_begun > letter.replays_done;
            let sent = "it was sent before; --force sends it again, as further events";
            return Ok(self.refuse(id, if interrupted { INTERRUPTED } else { sent }));
        }
        let repaired = match (&self.with, &self.options.command) {
            (Some(bytes), _) => Some(bytes.clone()),
            (None, Some(command)) => match command::repair(command, &letter.raw).await {
                Ok(bytes) => Some(bytes),
                Err(error) => return Ok(self.refuse(id, &format!("{error:#}"))),
            },
            (None, None) => None,
        };
        let now = Timestamp::from_system(SystemTime::now());
        if let Err(problem) = repair::lines(original(&letter), repaired.as_deref(), now) {
            return Ok(self.refuse(id, &problem));
        }
        let bytes = repaired.unwrap_or_else(|| letter.raw.clone());
        Ok(Some(Ready { id: id.clone(), bytes, letter }))
    }

    /// Claims letters, appends them, notes that it is done.
    async fn send(&mut self, batch: Vec<Ready>) -> Result<()> {
        let Some(first) = batch.first().map(|ready| ready.id.clone()) else { return Ok(()) };
        let now = Timestamp::from_system(SystemTime::now());
        let (mut messages, mut claims) = (Messages::default(), Vec::new());
        let (mut letters, mut events) = (0, 0);
        for ready in &batch {
            if self.producer.is_some() {
                match self.claim(&ready.id).await? {
                    Some(claim) => claims.push(claim),
                    None => continue,
                }
            }
            // As it was when the letter was prepared, but for the clock.
            let lines = repair::lines(original(&ready.letter), Some(&ready.bytes), now);
            for line in lines.map_err(|problem| anyhow!("{}: {problem}", ready.id))? {
                messages.push(&line);
                events += u64::from(line.schema != event_log::Schema::Producer);
            }
            letters += 1;
        }
        if let Some(producer) = self.producer.as_ref().filter(|_| letters > 0) {
            let append = tokio::time::timeout(APPEND_WITHIN, producer.append(messages.finish())).await;
            append
                .map_err(|_| anyhow!("the event log did not answer within {} s", APPEND_WITHIN.as_secs()))
                .and_then(|appended| appended.context("can't append to the event log"))
                .with_context(|| format!("{letters} letters from {first} on are in doubt"))?;
            for claim in &claims {
                dead_letters::finish_replay(self.warehouse, claim).await.with_context(|| {
                    format!("{letters} letters from {first} on were sent, and not noted as sent")
                })?;
            }
        }
        self.outcome.letters += letters;
        self.outcome.events += events;
        Ok(())
    }

    async fn claim(&mut self, id: &LetterId) -> Result<Option<Claim>> {
        let begin = dead_letters::begin_replay(self.warehouse, id, &self.operator, self.options.force).await;
        let when = |us| Timestamp(us);
        match begin.with_context(|| format!("can't claim {id}"))? {
            Begin::Ours(claim) => Ok(Some(claim)),
            Begin::Begun { operator, begun_at_us } => {
                let problem = format!("{operator} began to send it at {}; {INTERRUPTED}", when(begun_at_us));
                Ok(self.refuse(id, &problem))
            }
            Begin::Done { operator, begun_at_us } => {
                let problem = format!("{operator} sent it at {}; --force sends it again", when(begun_at_us));
                Ok(self.refuse(id, &problem))
            }
        }
    }

    #[allow(clippy::print_stdout)] // what became of a letter is what was asked for
    fn refuse<T>(&mut self, id: &LetterId, problem: &str) -> Option<T> {
        self.outcome.refused += 1;
        println!("{id}: not sent: {problem}");
        None
    }

    #[allow(clippy::print_stdout)] // what was done is what was asked for
    fn report(&self) {
        let Outcome { letters, events, refused, done, purged } = self.outcome;
        let sent = if self.options.dry_run { "would be sent" } else { "sent" };
        println!("{letters} letters {sent}, {events} events; {refused} not sent");
        if done + purged > 0 {
            println!("passed over: {done} that were sent before, {purged} whose bytes were purged");
        }
    }
}

/// What somebody has to find out who finds a letter in this state.
const INTERRUPTED: &str = "a replay was begun and never finished, so it may be in the event log: look for the event in \
    ClickHouse, or for a newer letter, before --force";

fn original(letter: &DeadLetter) -> Original<'_> {
    Original { line: letter.id.line, reason: &letter.reason, schema: &letter.schema, raw: &letter.raw }
}
