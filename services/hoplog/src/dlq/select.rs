//! Which dead letters are meant. Only reads.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use warehouse::Warehouse;
use warehouse::dead_letters::{self, DeadLetter, Filter, LetterId};
use wide_event::Timestamp;

use crate::cli::{Choice, Collected};

/// Letters that one command does something to: at some hundred bytes each what a laptop holds, and hours of work.
const CHOSEN_MAX: u32 = 1_000_000;

/// A filter for each reason, or one for all of them.
pub(super) fn filters(reasons: &[String], collected: &Collected, limit: u32) -> Vec<Filter> {
    let now = Timestamp::from_system(SystemTime::now());
    let ago = |ago: Duration| now.0.saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX)).max(0);
    let any = Filter {
        since_us: collected.since.map(ago),
        until_us: collected.before.map(ago),
        limit,
        ..Filter::default()
    };
    if reasons.is_empty() {
        return vec![any];
    }
    reasons.iter().map(|reason| Filter { reason: Some(reason.clone()), ..any.clone() }).collect()
}

/// The newest letters that fit.
///
/// # Errors
/// When ClickHouse can't be read.
pub(super) async fn newest(
    warehouse: &Warehouse,
    reasons: &[String],
    collected: &Collected,
    limit: u32,
) -> Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    for filter in filters(reasons, collected, limit) {
        letters.extend(dead_letters::list(warehouse, &filter).await.context("can't read the dead letters")?);
    }
    // Each filter's are in order; a reason that was given twice is one reason.
    letters.sort_by(|a, b| b.collected_at_us.cmp(&a.collected_at_us).then_with(|| a.id.cmp(&b.id)));
    letters.dedup();
    letters.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(letters)
}

/// A letter that was chosen.
#[derive(Debug)]
pub(super) struct Target {
    /// Its name.
    pub id: LetterId,
    /// Without its bytes, as it was found; none where it was asked for by name.
    pub found: Option<DeadLetter>,
}

/// Chosen by their ids, in that order, or by what they are, the oldest first.
///
/// # Errors
/// When an id is none, there are more than can be handled, or ClickHouse can't be read.
pub(super) async fn chosen(
    warehouse: &Warehouse,
    choice: &Choice,
    collected: &Collected,
) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = if choice.ids.is_empty() {
        let letters = newest(warehouse, &choice.reasons, collected, CHOSEN_MAX).await?;
        if letters.len() >= CHOSEN_MAX as usize {
            bail!(
                "these are {CHOSEN_MAX} letters or more; take some of them with --reason, --since and --before"
            );
        }
        let target = |letter: DeadLetter| Target { id: letter.id.clone(), found: Some(letter) };
        letters.into_iter().rev().map(target).collect()
    } else {
        let target = |id: &String| Ok(Target { id: id.parse()?, found: None });
        choice.ids.iter().map(target).collect::<Result<_>>()?
    };
    // An id may be said twice; and two rows may be about one message as a whole, which go together.
    let mut seen = HashSet::new();
    targets.retain(|target| seen.insert(target.id.clone()));
    Ok(targets)
}

/// One letter with its bytes: mostly one row.
///
/// # Errors
/// When there is none, or ClickHouse can't be read.
pub(super) async fn one(warehouse: &Warehouse, id: &LetterId) -> Result<Vec<DeadLetter>> {
    let letters = dead_letters::get(warehouse, id).await.context("can't read the dead letters")?;
    if letters.is_empty() {
        bail!("there is no dead letter {id}; `hoplog dlq list` shows them, and they expire");
    }
    Ok(letters)
}
