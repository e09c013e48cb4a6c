//! API keys: made of 256 random bits, shown once, kept as a hash.
//! What a key may do is said by its roles; who asks for something checks them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use serde::{Deserialize, Serialize};

use crate::link::UnixSeconds;
use crate::store::{LinkStore, StoreError};

/// Longest key looked at, in bytes. Ours have 46; Shlink's, which may be imported, 36.
pub const KEY_BYTES_MAX: usize = 256;

/// What is known of a key; never the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Public name, in events and listings.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose links it makes: the same for all keys that one was rotated into. A key of its own has its id here.
    pub owner: String,
    /// What restricts it. Without any, it may do everything.
    pub roles: Vec<Role>,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// From when on it is refused.
    pub expires_at: Option<UnixSeconds>,
    /// Since when it is refused.
    pub revoked_at: Option<UnixSeconds>,
}

/// What restricts a key; all that it has hold together. Stored as JSON, so names are for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Role {
    /// It may create links, and read what it just created, but nothing else.
    CreateOnly,
    /// It may change nothing.
    ReadOnly,
    /// It knows only links of its owner.
    OwnLinks,
    /// It knows only links of one domain.
    Domain {
        /// See [`crate::domain::Domain::authority`].
        domain: String,
    },
    /// It sees no orphan visits.
    NoOrphanVisits,
}

impl ApiKey {
    /// Whether it is accepted at `now`.
    pub fn is_valid_at(&self, now: UnixSeconds) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system has no randomness.
    #[error("no randomness from the system")]
    Random(#[source] getrandom::Error),
    /// The store failed.
    #[error("the key could not be stored")]
    Store(#[source] StoreError),
}

/// A key to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewKey {
    /// See [`ApiKey::name`].
    pub name: String,
    /// See [`ApiKey::roles`].
    pub roles: Vec<Role>,
    /// See [`ApiKey::expires_at`].
    pub expires_at: Option<UnixSeconds>,
    /// See [`ApiKey::owner`]; without one, the key is its own.
    pub owner: Option<String>,
}

impl NewKey {
    /// One that may do everything and does not expire.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Makes and stores a key. The text is returned once and kept nowhere.
pub async fn create(store: &dyn LinkStore, new: NewKey) -> Result<(ApiKey, String), KeyError> {
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(KeyError::Random)?;
    let text = format!("hl_{}", URL_SAFE_NO_PAD.encode(secret));
    let mut id = [0_u8; 6];
    getrandom::fill(&mut id).map_err(KeyError::Random)?;
    let id = format!("k{}", URL_SAFE_NO_PAD.encode(id));
    let key = ApiKey {
        owner: new.owner.unwrap_or_else(|| id.clone()),
        id,
        name: new.name,
        roles: new.roles,
        created_at: now(),
        expires_at: new.expires_at,
        revoked_at: None,
    };
    store.insert_key(&key, &hash(&text)).await.map_err(KeyError::Store)?;
    Ok((key, text))
}

/// Makes a key that does what key `id` does, for the same owner and as long a life, and has the old one expire after
/// `grace_s` seconds. Nothing when there is no such key that is accepted now.
pub async fn rotate(
    store: &dyn LinkStore,
    id: &str,
    grace_s: UnixSeconds,
) -> Result<Option<(ApiKey, String)>, KeyError> {
    let now = now();
    let keys = store.list_keys().await.map_err(KeyError::Store)?;
    let Some(old) = keys.into_iter().find(|key| key.id == id && key.is_valid_at(now)) else {
        return Ok(None);
    };
    let new = NewKey {
        expires_at: old.expires_at.map(|expires_at| now.saturating_add(expires_at - old.created_at)),
        name: old.name,
        roles: old.roles,
        owner: Some(old.owner),
    };
    let made = create(store, new).await?;
    store.expire_key(id, now.saturating_add(grace_s)).await.map_err(KeyError::Store)?;
    Ok(Some(made))
}

/// All keys, the oldest first.
pub async fn list(store: &dyn LinkStore) -> Result<Vec<ApiKey>, StoreError> {
    store.list_keys().await
}

/// Revokes a key by its id; false when there is no such key, or it is revoked already. Running processes refuse
/// it within [`crate::keyring::KEY_CACHE_S`] seconds.
pub async fn revoke(store: &dyn LinkStore, id: &str) -> Result<bool, StoreError> {
    store.revoke_key(id, now()).await
}

/// The key that `text` is, when it is one that is accepted now.
pub async fn verify(store: &dyn LinkStore, text: &str) -> Result<Option<ApiKey>, StoreError> {
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        return Ok(None);
    }
    let given = hash(text);
    let Some((key, stored)) = store.find_key(&given).await? else { return Ok(None) };
    // The index finds by hash, whose timing tells nothing of the key; equality is settled in constant time.
    let equal = blake3::Hash::from_bytes(given) == blake3::Hash::from_bytes(stored);
    Ok((equal && key.is_valid_at(now())).then_some(key))
}

/// Keys hold 256 random bits, so a fast hash is enough: there is nothing to guess.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    blake3::derive_key("hoplog api key v1", text.as_bytes())
}

pub(crate) fn now() -> UnixSeconds {
    time::OffsetDateTime::now_utc().unix_timestamp()
}
