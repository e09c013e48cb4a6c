//! `hoplog keys`: API keys from the command line, for whoever can read the link store.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use shortener::keys::{self, ApiKey};
use shortener::link::UnixSeconds;

use crate::cli::KeysAction;
use crate::config::Config;
use crate::link_store;

/// Does what was asked and prints the result.
///
/// # Errors
/// When the store can't be opened, or there is no such key.
#[allow(clippy::print_stdout)] // the keys are what was asked for
pub(crate) async fn run(action: KeysAction, config: Config) -> Result<ExitCode> {
    let store = link_store::open_migrated(&config.serve.shortener.store).await?;
    let store = store.as_ref();
    match action {
        KeysAction::Create { name } => {
            let (key, text) = keys::create(store, &name, None).await?;
            println!("{text}");
            tracing::info!(id = key.id, "made; the key itself is shown only now");
        }
        KeysAction::List => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let now = UnixSeconds::try_from(now).unwrap_or(UnixSeconds::MAX);
            keys::list(store).await?.iter().for_each(|key| println!("{}", line(key, now)));
        }
        KeysAction::Revoke { id } => {
            if !keys::revoke(store, &id).await? {
                bail!("there is no valid key {id}; `hoplog keys list` shows them");
            }
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Tab-separated: id, state, name.
fn line(key: &ApiKey, now: UnixSeconds) -> String {
    let state = match (key.revoked_at, key.is_valid_at(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "valid",
        (None, false) => "expired",
    };
    format!("{}\t{state}\t{}", key.id, key.name)
}
