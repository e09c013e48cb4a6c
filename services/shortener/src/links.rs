//! What can be done with links and keys: the store, the cache and the codes, put together.
//! Endpoints call this; it knows no HTTP. Each store call is timed and told to the hop.

mod create;

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::breaker::Breaker;
use crate::cache::{CachedLink, LinkCache, Lookup, LookupError};
use crate::codes::{CodeError, Codes};
use crate::config::BreakerConfig;
use crate::domain::{DEFAULT_DOMAIN, Domain, DomainRedirectsEdit};
use crate::domains::Domains;
use crate::keyring::{Keyring, Known};
use crate::keys::{self, ApiKey};
use crate::limits::{Limited, Limits};
use crate::link::{
    Link, LinkEdit, LinkRef, LinkState, LinkVersion, ListQuery, Match, Page, Settings, UnixSeconds,
};
use crate::metrics::Metrics;
use crate::rule::Rule;
use crate::shared::{Change, News, SharedState};
use crate::store::{Changed, Counted, LinkStore, Read, Renamed, Selection, StoreError, TagCount};
use crate::target::Target;
use emitter::{Hop, Wait};
use wide_event::Cache as Tier;

use create::SKIPS_MAX;
pub use create::{Made, Once, Outcome};

/// Pairs of a domain and a code of the default one's that are remembered for when the store is away; about 20 MB.
const DEFAULTED_MAX: u64 = 100_000;

/// After this a change that had no answer in time is made or not: twice what a server gives a statement by default
/// (`store.postgres.statement_ms_max`).
const DONE_WITHIN: Duration = Duration::from_secs(10);

/// Visits of links with a limit that are taken at once: a quarter of the connections that a store has by default
/// (`store.postgres.connections_max`). The API has a half, so that a link which everybody follows leaves the others some.
const VISITS_AT_ONCE: usize = 4;

/// How long one waits for its turn. After it there is as long as a write may take (`store.write_ms_max`): were both of one
/// deadline, the turns of an overloaded link would come when nothing is left of it, and be taken in vain.
const VISIT_TURN_MAX: Duration = Duration::from_secs(2);

/// Name of the breaker before the store's writes, in events and metrics.
const WRITES: &str = "store_writes";

/// A link to be made.
#[derive(Debug, Clone)]
pub struct CreateLink {
    /// See [`crate::domain::Domain::authority`].
    pub domain: String,
    /// The alias.
    pub alias: Alias,
    /// Where it leads.
    pub target: Target,
    /// The rest.
    pub settings: Settings,
    /// See [`Link::rules`].
    pub rules: Vec<Rule>,
    /// Take a link that is as good instead.
    pub unless: Option<Match>,
    /// Whose it is, see [`ApiKey::owner`].
    pub owner: Option<String>,
    /// When it was made, for one that is imported; without it, now.
    pub created_at: Option<UnixSeconds>,
    /// See [`Link::visits_from`].
    pub visits_from: Option<UnixSeconds>,
}

/// The alias of a link to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alias {
    /// Chosen.
    Custom {
        /// All of it.
        slug: String,
        /// What it begins with, if that was chosen apart: suggestions go behind it.
        prefix: String,
    },
    /// Generated.
    Generated {
        /// Stands before the code.
        prefix: String,
        /// Of the code.
        length: u32,
    },
}

/// Why links were not made: none of them.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is no code of the length.
    #[error("no code could be made")]
    Code(#[source] CodeError),
    /// The store failed.
    #[error("the link could not be stored")]
    Store(#[source] StoreError),
    /// Generated codes keep being taken, which can't be.
    #[error("{SKIPS_MAX} generated codes in a row are taken")]
    CodesTaken,
    /// The same request is under way already.
    #[error("the same request is under way")]
    InFlight,
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used for another request")]
    OtherPayload,
    /// The system has no randomness.
    #[error("no randomness from the system")]
    Random(#[source] getrandom::Error),
}

/// Why nobody knows whether a key is one.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The store failed.
    #[error("the key could not be looked up")]
    Store(#[source] StoreError),
    /// Its client has come with too many wrong ones.
    #[error("too many wrong keys came from this network")]
    Limited(Limited),
}

/// Links, keys and what stands behind them.
pub struct Links {
    store: Arc<dyn LinkStore>,
    cache: Arc<LinkCache>,
    domains: Arc<Domains>,
    /// Codes that a domain was seen not to have. Only asked while the store fails: it may be as old as a stale link.
    defaulted: Cache<(Box<str>, Box<str>), ()>,
    codes: Codes,
    keyring: Keyring,
    writes: Breaker,
    /// Places of visits that are taken.
    visits: Semaphore,
    metrics: Metrics,
}

impl Links {
    /// Puts the parts together, within a tokio runtime.
    pub fn new(
        store: Arc<dyn LinkStore>,
        cache: Arc<LinkCache>,
        domains: Arc<Domains>,
        shared: &dyn SharedState,
        codes: Codes,
        breaker: &BreakerConfig,
        metrics: Metrics,
    ) -> Self {
        let defaulted = Cache::builder().max_capacity(DEFAULTED_MAX).time_to_live(cache.stale()).build();
        let writes = Breaker::new(WRITES, breaker, &metrics.dependencies);
        let keyring = Keyring::new(shared);
        let visits = Semaphore::new(VISITS_AT_ONCE);
        Self { store, cache, domains, defaulted, codes, keyring, writes, visits, metrics }
    }

    /// The link for a visit, from memory where possible. As in Shlink, a code that the domain does not have is looked
    /// for on the default one.
    pub async fn look_up(&self, hop: &Hop, link: LinkRef<'_>) -> Result<Lookup, LookupError> {
        if link.domain == DEFAULT_DOMAIN {
            return self.cache.get(hop, link).await;
        }
        let pair = || (link.domain.into(), link.code.into());
        let first = match self.cache.get(hop, link).await {
            Ok(lookup) if lookup.link.is_none() => {
                if lookup.tier != Tier::Negative {
                    self.defaulted.insert(pair(), ());
                }
                Some(lookup)
            }
            // What was known of the domain holds on, as a stale link does.
            Err(_) if self.defaulted.contains_key(&pair()) => None,
            answer => return answer,
        };
        let lookup = self.cache.get(hop, LinkRef::on_default(link.code)).await?;
        Ok(first.map_or(lookup.clone(), |first| lookup.after(&first)))
    }

    /// The link for a visit when it can be served without waiting; see [`LinkCache::at_hand`].
    pub fn at_hand(&self, link: LinkRef<'_>, now: Instant) -> Option<Arc<CachedLink>> {
        let found = self.cache.at_hand(link, now);
        if found.is_none() && link.domain != DEFAULT_DOMAIN && self.cache.is_unknown(link) {
            return self.cache.at_hand(LinkRef::on_default(link.code), now);
        }
        found
    }

    /// Takes a visit of a link with `max_visits`; false when none is left, which the link knows from then on. A few at
    /// once: everybody may follow the same link, and its last visits are soon taken.
    pub async fn take_visit(&self, hop: &Hop, link: &CachedLink) -> Result<bool, StoreError> {
        let Ok(_turn) = timeout(VISIT_TURN_MAX, self.visits.acquire()).await else {
            let late = StoreError::Timeout { ms: VISIT_TURN_MAX.as_secs() * 1_000 };
            self.metrics.store_failed(late.kind());
            return Err(late);
        };
        // Somebody before may have found out.
        if link.is_exhausted() {
            return Ok(false);
        }
        let taken = self.write(hop, "take_visit", false, self.store.take_visit(link.id)).await?;
        if !taken {
            link.set_exhausted();
        }
        Ok(taken)
    }

    /// The link as stored.
    pub async fn find(&self, hop: &Hop, link: LinkRef<'_>) -> Result<Option<Link>, StoreError> {
        self.timed(hop, "find", self.store.find(link, Read::Latest)).await
    }

    /// The links with these names as stored, in any order; unknown ones are left out.
    pub async fn find_many(&self, hop: &Hop, links: &[LinkRef<'_>]) -> Result<Vec<Link>, StoreError> {
        self.timed(hop, "find_many", self.store.find_many(links)).await
    }

    /// The newest link that is as good as one to `target`.
    pub async fn find_match(&self, hop: &Hop, target: &str, by: &Match) -> Result<Option<Link>, StoreError> {
        self.timed(hop, "find_match", self.store.find_match(target, by)).await
    }

    /// Changes a link.
    pub async fn edit(&self, hop: &Hop, link: LinkRef<'_>, edit: &LinkEdit) -> Result<Changed, StoreError> {
        let changed = self.write(hop, "edit", false, self.store.edit(link, edit)).await;
        self.doubt_unless_known(link, &changed).await;
        if let Ok(Changed::Done(link)) = &changed {
            self.took_in(link).await;
        }
        changed
    }

    /// Deletes a link.
    pub async fn delete(
        &self,
        hop: &Hop,
        link: LinkRef<'_>,
        if_state: Option<LinkState>,
    ) -> Result<Changed, StoreError> {
        let changed = self.write(hop, "delete", false, self.store.delete(link, if_state)).await;
        self.doubt_unless_known(link, &changed).await;
        if let Ok(Changed::Done(link)) = &changed {
            self.cache.forget(link.name(), link.id);
            self.cache.share_gone(link).await;
        }
        changed
    }

    /// A link was just stored: it is in the cache from now on, and other instances are told.
    async fn took_in(&self, link: &Link) {
        self.cache.put(link);
        self.domains.has_link(&link.domain);
        self.cache.share(link).await;
    }

    /// A store that failed may have made the change all the same, or be about to: its answer was lost, or came too late.
    async fn doubt_unless_known(&self, link: LinkRef<'_>, changed: &Result<Changed, StoreError>) {
        if !changed.as_ref().is_err_and(StoreError::is_outage) {
            return;
        }
        self.cache.doubt(link).await;
        let (cache, domain, code) = (Arc::clone(&self.cache), link.domain.to_owned(), link.code.to_owned());
        // Who asks before it is done reads what was before. Few of these wait at once: the breaker opens.
        tokio::spawn(async move {
            tokio::time::sleep(DONE_WITHIN).await;
            cache.doubt(LinkRef { domain: &domain, code: &code }).await;
        });
    }

    /// Lists links.
    pub async fn list(&self, hop: &Hop, query: &ListQuery) -> Result<Page, StoreError> {
        self.timed(hop, "list", self.store.list(query)).await
    }

    /// Ids and names of the links that a list is of, with the times since when their visits count.
    pub async fn list_names(
        &self,
        hop: &Hop,
        query: &ListQuery,
        limit: u32,
    ) -> Result<Vec<(i64, Counted)>, StoreError> {
        self.timed(hop, "list_names", self.store.list_names(query, limit)).await
    }

    /// The links with these ids, in any order.
    pub async fn find_ids(&self, hop: &Hop, ids: &[i64]) -> Result<Vec<Link>, StoreError> {
        self.timed(hop, "find_ids", self.store.find_ids(ids)).await
    }

    /// Versions of a link; see [`LinkStore::history`].
    pub async fn history(
        &self,
        hop: &Hop,
        link_id: i64,
        below: Option<u32>,
        limit: u32,
    ) -> Result<Vec<LinkVersion>, StoreError> {
        self.timed(hop, "history", self.store.history(link_id, below, limit)).await
    }

    /// These versions of a link, in any order, as far as they are known.
    pub async fn versions(
        &self,
        hop: &Hop,
        link_id: i64,
        versions: &[u32],
    ) -> Result<Vec<LinkVersion>, StoreError> {
        self.timed(hop, "versions", self.store.versions(link_id, versions)).await
    }

    /// All tags of links, of an owner, of a domain, or all.
    pub async fn tags(
        &self,
        hop: &Hop,
        owner: Option<&str>,
        domain: Option<&str>,
    ) -> Result<Vec<TagCount>, StoreError> {
        self.timed(hop, "tags", self.store.tags(owner, domain)).await
    }

    /// Names of the links selected that have any of these tags, with each of them.
    pub async fn tagged(
        &self,
        hop: &Hop,
        of: &Selection,
        tags: &[String],
        limit: u32,
    ) -> Result<Vec<(String, Counted)>, StoreError> {
        self.timed(hop, "tagged", self.store.tagged(of, tags, limit)).await
    }

    /// Renames a tag on all links. Tags are in no cache.
    pub async fn rename_tag(&self, hop: &Hop, old: &str, new: &str) -> Result<Renamed, StoreError> {
        self.timed(hop, "rename_tag", self.store.rename_tag(old, new)).await
    }

    /// Takes tags off all links.
    pub async fn delete_tags(&self, hop: &Hop, names: &[String]) -> Result<(), StoreError> {
        self.timed(hop, "delete_tags", self.store.delete_tags(names)).await
    }

    /// All domains as stored.
    pub async fn domains(&self, hop: &Hop) -> Result<Vec<Domain>, StoreError> {
        self.timed(hop, "domains", self.store.domains()).await
    }

    /// Sets where visits of a domain go that name no link; nothing when the domain is unknown.
    pub async fn set_domain_redirects(
        &self,
        hop: &Hop,
        domain: &str,
        edit: &DomainRedirectsEdit,
    ) -> Result<Option<Domain>, StoreError> {
        let set = self.store.set_domain_redirects(domain, edit);
        let set = self.timed(hop, "set_domain_redirects", set).await;
        let set = set.inspect_err(|_| self.domains.read_again())?;
        if let Some(domain) = &set {
            self.domains.put(domain.clone());
            self.cache.announcer().tell(Change::Domains, News::Change).await;
        }
        Ok(set)
    }

    /// Names of the links selected, with the times since when their visits count.
    pub async fn names(&self, hop: &Hop, of: &Selection, limit: u32) -> Result<Vec<Counted>, StoreError> {
        self.timed(hop, "names", self.store.names(of, limit)).await
    }

    /// Links whose visits before a time were deleted, with that time.
    pub async fn deleted_visits(
        &self,
        hop: &Hop,
        domain: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Counted>, StoreError> {
        self.timed(hop, "deleted_visits", self.store.deleted_visits(domain, limit)).await
    }

    /// Since when orphan visits are shown.
    pub async fn orphan_visits_from(&self, hop: &Hop) -> Result<Option<UnixSeconds>, StoreError> {
        self.timed(hop, "orphan_visits_from", self.store.orphan_visits_from()).await
    }

    /// Sets since when orphan visits are shown.
    pub async fn set_orphan_visits_from(&self, hop: &Hop, at: UnixSeconds) -> Result<(), StoreError> {
        self.timed(hop, "set_orphan_visits_from", self.store.set_orphan_visits_from(at)).await
    }

    /// Codes on a domain that robots may follow, the newest first.
    pub async fn crawlable(&self, hop: &Hop, domain: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        self.timed(hop, "crawlable", self.store.crawlable(domain, limit)).await
    }

    /// Whether the store answers.
    pub async fn ping(&self, hop: &Hop) -> Result<(), StoreError> {
        self.timed(hop, "ping", self.store.ping()).await
    }

    /// The key that `text` is, when it is accepted. The store is asked for what is not known here, and by a client that
    /// has come with many wrong keys only for those that were right before: others on its network go on with theirs.
    ///
    /// # Errors
    /// When the store failed, or is not asked for this client now.
    pub async fn authenticate(
        &self,
        hop: &Hop,
        limits: &Limits,
        text: &str,
    ) -> Result<Option<ApiKey>, AuthenticateError> {
        let hash = keys::hash(text);
        match self.keyring.find(&hash) {
            Known::Accepted(key) => return Ok(Some(key)),
            Known::Refused => return Ok(None),
            Known::Trusted => {}
            Known::No => limits.try_key(hop).map_err(AuthenticateError::Limited)?,
        }
        let key = self.timed(hop, "find_key", keys::verify(self.store.as_ref(), text)).await;
        let key = key.map_err(AuthenticateError::Store)?;
        self.keyring.learn(hash, key.as_ref());
        if key.is_none() {
            limits.wrong_key(hop);
        }
        Ok(key)
    }

    /// A write, behind its breaker: visits of links with a limit do not each wait for a store that can't write. Reads
    /// that are no look-ups of visits have none: they have deadlines, and a slow search is no reason to refuse a visit.
    /// With `many` links in one call, that it takes too long says nothing of a store that others ask for little.
    async fn write<T>(
        &self,
        hop: &Hop,
        call: &'static str,
        many: bool,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Ok(admitted) = self.writes.admit() else {
            hop.breaker(self.writes.name());
            self.metrics.store_failed(StoreError::BreakerOpen.kind());
            return Err(StoreError::BreakerOpen);
        };
        let answer = self.timed(hop, call, answer).await;
        match &answer {
            Err(StoreError::Timeout { .. }) if many => drop(admitted),
            answer => admitted.ended(answer, StoreError::is_outage),
        }
        answer
    }

    async fn timed<T>(
        &self,
        hop: &Hop,
        call: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let answer = answer.await;
        let wait = Wait::since(started, self.store.system(), call, answer.is_err());
        self.metrics.store_called(call, wait.took);
        hop.waited(&wait);
        if let Err(error) = &answer {
            self.metrics.store_failed(error.kind());
        }
        answer
    }
}
