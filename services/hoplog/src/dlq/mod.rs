//! `hoplog dlq`: dead letters for whoever is on call. Finds them in ClickHouse, sends them through the event log.
//! What became a dead letter, and why, is decided by the collector.

mod command;
mod list;
mod messages;
mod repair;
mod replay;
mod select;

use std::process::ExitCode;

use anyhow::Result;
use warehouse::Warehouse;

use crate::cli::{Dlq, DlqAction};
use crate::config::Config;

/// Does what was asked. Exits with 1 where something could not be done.
///
/// # Errors
/// When ClickHouse or the event log can't be used, or there is no such letter.
pub(crate) async fn run(options: Dlq, config: Config) -> Result<ExitCode> {
    let warehouse = Warehouse::new(&config.warehouse);
    match options.action {
        DlqAction::List { reasons, collected, limit, json } => {
            list::list(&warehouse, &reasons, &collected, limit, json).await
        }
        DlqAction::Show { id, raw } => list::show(&warehouse, &id, raw).await,
        DlqAction::Replay(options) => replay::run(&options, &warehouse, &config).await,
        DlqAction::Purge { choice, collected, yes } => {
            list::purge(&warehouse, &choice, &collected, yes).await
        }
    }
}
