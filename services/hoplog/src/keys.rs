//! `hoplog keys`: API keys from the command line, for whoever can read the link store.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shortener::domain::{DEFAULT_DOMAIN, parse_authority};
use shortener::keys::{self, ApiKey, Role};
use shortener::link::UnixSeconds;
use shortener::shared::{self, Change};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use crate::cli::{KeyRole, KeysAction, NewKey};
use crate::config::Config;
use crate::link_store;

/// Does what was asked and prints the result.
///
/// # Errors
/// When the store can't be opened, or there is no such key.
#[allow(clippy::print_stdout)] // the keys are what was asked for
pub(crate) async fn run(action: KeysAction, config: Config) -> Result<ExitCode> {
    let shortener = &config.serve.shortener;
    let store = link_store::open_migrated(&shortener.store).await?;
    let store = store.as_ref();
    match action {
        KeysAction::Create(new) => {
            let new = read(new, &shortener.links.base_url)?;
            let (key, text) = keys::create(store, new).await?;
            println!("{text}");
            tracing::info!(id = key.id, "made; the key itself is shown only now");
        }
        KeysAction::List => {
            let now = now();
            keys::list(store).await?.iter().for_each(|key| println!("{}", line(key, now)));
        }
        KeysAction::Rotate { id, grace } => {
            let made = keys::rotate(store, &id, seconds(grace)).await?;
            let (key, text) = made.with_context(|| no_such_key(&id))?;
            println!("{text}");
            tracing::info!(id = key.id, old = id, "made; the key itself is shown only now");
            announce(&config).await;
        }
        KeysAction::Revoke { id } => {
            if !keys::revoke(store, &id).await? {
                bail!(no_such_key(&id));
            }
            announce(&config).await;
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn no_such_key(id: &str) -> String {
    format!("there is no valid key {id}; `hoplog keys list` shows them")
}

/// Longest that the command waits for Redis, which it has only just begun to connect to.
const TELL_MAX: Duration = Duration::from_secs(3);

/// How often it tries meanwhile.
const TELL_EVERY: Duration = Duration::from_millis(20);

/// Tells running instances, which remember accepted keys for a moment.
async fn announce(config: &Config) {
    let shared = shared::open(&config.serve.shortener.redis);
    let give_up = Instant::now() + TELL_MAX;
    while let Err(error) = shared.announce(&Change::Keys).await {
        if Instant::now() > give_up {
            return tracing::warn!(
                error = &error as &dyn std::error::Error,
                seconds = shortener::keyring::KEY_CACHE_S,
                "instances could not be told; they may accept the old key for that long"
            );
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

fn read(new: NewKey, base_url: &str) -> Result<keys::NewKey> {
    let mut roles: Vec<Role> = new.roles.into_iter().map(role).collect();
    if let Some(domain) = &new.domain {
        roles.push(Role::Domain { domain: authority(domain, base_url)? });
    }
    let expires_at = new.expires.map(|after| now().saturating_add(seconds(after)));
    Ok(keys::NewKey { name: new.name, roles, expires_at, owner: None })
}

fn role(role: KeyRole) -> Role {
    match role {
        KeyRole::CreateOnly => Role::CreateOnly,
        KeyRole::ReadOnly => Role::ReadOnly,
        KeyRole::OwnLinks => Role::OwnLinks,
        KeyRole::NoOrphanVisits => Role::NoOrphanVisits,
    }
}

/// The domain as links have it: the default one by its name in the store, others by host and port.
fn authority(domain: &str, base_url: &str) -> Result<String> {
    let default = Url::parse(base_url).context("links.base_url is no URL")?;
    if domain.eq_ignore_ascii_case(default.authority()) {
        return Ok(DEFAULT_DOMAIN.to_owned());
    }
    let named = parse_authority(domain).with_context(|| format!("{domain} is no domain"))?;
    let is_default = parse_authority(default.authority()).is_ok_and(|default| default == named);
    Ok(if is_default { DEFAULT_DOMAIN.to_owned() } else { named })
}

/// Tab-separated: id, state, owner, roles, expiry, name.
fn line(key: &ApiKey, now: UnixSeconds) -> String {
    let state = match (key.revoked_at, key.is_valid_at(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "valid",
        (None, false) => "expired",
    };
    let roles: Vec<_> = key.roles.iter().map(role_text).collect();
    let roles = if roles.is_empty() { "admin".to_owned() } else { roles.join(",") };
    let expires = key.expires_at.map_or_else(|| "never".to_owned(), time_text);
    format!("{}\t{state}\t{}\t{roles}\t{expires}\t{}", key.id, key.owner, key.name)
}

fn role_text(role: &Role) -> String {
    match role {
        Role::CreateOnly => "create-only".to_owned(),
        Role::ReadOnly => "read-only".to_owned(),
        Role::OwnLinks => "own-links".to_owned(),
        Role::Domain { domain } if domain == DEFAULT_DOMAIN => "domain=default".to_owned(),
        Role::Domain { domain } => format!("domain={domain}"),
        Role::NoOrphanVisits => "no-orphan-visits".to_owned(),
    }
}

fn time_text(at: UnixSeconds) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at).ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| "far away".to_owned())
}

fn now() -> UnixSeconds {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn seconds(duration: Duration) -> UnixSeconds {
    UnixSeconds::try_from(duration.as_secs()).unwrap_or(UnixSeconds::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_named_as_links_name_them() {
        let named = |domain| authority(domain, "https://s.example");
        assert_eq!(named("S.example").unwrap(), "");
        assert_eq!(named("T.Example").unwrap(), "t.example");
        assert_eq!(named("t.example:8080").unwrap(), "t.example:8080");
        for wrong in ["", "a b", "t.example/x", "u@t.example"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_says_what_a_key_may() {
        let mut key = ApiKey {
            id: "k1".to_owned(),
            name: "ci".to_owned(),
            owner: "k0".to_owned(),
            roles: Vec::new(),
            created_at: 0,
            expires_at: None,
            revoked_at: None,
        };
        assert_eq!(line(&key, 5), "k1\tvalid\tk0\tadmin\tnever\tci");
        key.roles = vec![Role::ReadOnly, Role::Domain { domain: "t.example".to_owned() }];
        key.expires_at = Some(5);
        assert_eq!(line(&key, 5), "k1\texpired\tk0\tread-only,domain=t.example\t1970-01-01T00:00:05Z\tci");
    }
}
