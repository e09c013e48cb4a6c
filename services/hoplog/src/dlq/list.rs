//! What only reads dead letters, or deletes their bytes: `list`, `show`, `purge`. What stands in them was written by
//! somebody else: control characters reach a terminal only where the bytes themselves were asked for.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;
use warehouse::Warehouse;
use warehouse::dead_letters::{self, DeadLetter, LetterId};
use wide_event::Timestamp;

use super::select;
use crate::cli::{Choice, Collected};

/// Prints the newest letters.
///
/// # Errors
/// When ClickHouse can't be read.
#[allow(clippy::print_stdout)] // the list is what was asked for
pub(super) async fn list(
    warehouse: &Warehouse,
    reasons: &[String],
    collected: &Collected,
    limit: u32,
    as_json: bool,
) -> Result<ExitCode> {
    for letter in select::newest(warehouse, reasons, collected, limit).await? {
        if as_json {
            println!("{}", as_value(&letter));
        } else {
            println!("{}", row(&letter));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Tab-separated: id, when collected, reason, events, bytes, what was done about it, detail.
fn row(letter: &DeadLetter) -> String {
    let DeadLetter { id, reason, events, raw_bytes, detail, .. } = letter;
    let collected = Timestamp(letter.collected_at_us);
    let state = state(letter);
    format!("{id}\t{collected}\t{}\t{events}\t{raw_bytes}\t{state}\t{}", visible(reason), visible(detail))
}

fn state(letter: &DeadLetter) -> &'static str {
    match letter {
        DeadLetter { replays_begun, replays_done, .. } if replays_begun > replays_done => "interrupted",
        DeadLetter { replays_done: 1.., .. } => "replayed",
        DeadLetter { purged: true, .. } => "purged",
        _ => "open",
    }
}

fn as_value(letter: &DeadLetter) -> serde_json::Value {
    let time = |us| Timestamp(us).to_string();
    json!({
        "id": letter.id.to_string(), "topic": letter.id.topic, "partition": letter.id.partition,
        "offset": letter.id.offset, "line": letter.id.line, "reason": letter.reason, "detail": letter.detail,
        "events": letter.events, "schema": letter.schema, "content_type": letter.content_type,
        "raw_bytes": letter.raw_bytes, "appended_at": time(letter.appended_at_us),
        "collected_at": time(letter.collected_at_us), "state": state(letter), "purged": letter.purged,
        "replays": letter.replays_done, "replays_begun": letter.replays_begun,
    })
}

/// Prints one letter: with what is known of it, or its bytes as they are.
///
/// # Errors
/// When there is none, or it was purged and its bytes are wanted.
#[allow(clippy::print_stdout)] // the letter is what was asked for
pub(super) async fn show(warehouse: &Warehouse, id: &str, raw: bool) -> Result<ExitCode> {
    let id: LetterId = id.parse()?;
    for letter in select::one(warehouse, &id).await? {
        if raw && letter.purged {
            bail!("the bytes of {id} were purged");
        }
        if raw {
            std::io::stdout().lock().write_all(&letter.raw).context("can't write the bytes")?;
            continue;
        }
        println!("id            {id}");
        println!("reason        {}", visible(&letter.reason));
        println!("detail        {}", visible(&letter.detail));
        println!("events        {}", letter.events);
        println!("schema        {}", visible(&letter.schema));
        println!("content type  {}", visible(&letter.content_type));
        println!("appended      {}", Timestamp(letter.appended_at_us));
        println!("collected     {}", Timestamp(letter.collected_at_us));
        println!("state         {}", state(&letter));
        println!("bytes         {}\n", letter.raw_bytes);
        println!("{}", visible(&String::from_utf8_lossy(&letter.raw)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Control characters as escapes: a terminal obeys them.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

/// Deletes the bytes of letters, for good.
///
/// # Errors
/// When this was not confirmed, or ClickHouse does not do it.
#[allow(clippy::print_stdout)] // what was done is what was asked for
pub(super) async fn purge(
    warehouse: &Warehouse,
    choice: &Choice,
    collected: &Collected,
    yes: bool,
) -> Result<ExitCode> {
    if !yes {
        let letters = select::chosen(warehouse, choice, collected).await?.len();
        bail!("the bytes of {letters} letters would be deleted for good; say --yes to do so");
    }
    let mut purged = 0;
    let refused = "ClickHouse did not delete the bytes";
    if choice.ids.is_empty() {
        for filter in select::filters(&choice.reasons, collected, 0) {
            purged += dead_letters::purge(warehouse, &filter).await.context(refused)?;
        }
    } else {
        for target in select::chosen(warehouse, choice, collected).await? {
            select::one(warehouse, &target.id).await?;
            purged += dead_letters::purge_one(warehouse, &target.id).await.context(refused)?;
        }
    }
    println!("the bytes of {purged} letters are deleted; that they were there, and why, stays");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(visible("a\u{1b}[2J\tb\nü"), "a\\u{1b}[2J\\tb\nü");
    }
}
