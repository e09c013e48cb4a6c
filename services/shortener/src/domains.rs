//! The domains in memory: which hosts links live on, and where visits go that name no link.
//! Read again when it has aged or another instance has changed something; what was read last stays while the store
//! is away. It asks for nothing on behalf of a request: who looks something up never waits.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;

use tokio::sync::Semaphore;
use url::Url;
use wide_event::Orphan;

use crate::domain::{DEFAULT_DOMAIN, Domain, DomainRedirects};
use crate::metrics::Metrics;
use crate::shared::{Change, Listener, SharedState, listen};
use crate::store::{LinkStore, StoreError};

/// Age at which the table is read again, ms: what a lost message may cost. One small query in it is nothing.
const FRESH_MS: u64 = 10_000;

/// Pause after a failed reading, ms; also what bounds how often a flood of changes is read.
const RETRY_MS: u64 = 500;

/// Pause between readings for callers who name domains that are not in the table, ms. So long another instance's new domain
/// may be refused.
const DOUBTED_MS: u64 = 1_000;

/// Longest name of a host with its port: 253 bytes and five digits.
const AUTHORITY_BYTES_MAX: usize = 259;

/// What Shlink's users write into the redirects of a domain, as it is stored: serialised in a path, or in a query.
const DOMAIN: [&str; 2] = ["%7BDOMAIN%7D", "{DOMAIN}"];
const ORIGINAL_PATH: [&str; 2] = ["%7BORIGINAL_PATH%7D", "{ORIGINAL_PATH}"];

/// The domains of the store.
pub struct Domains {
    default: Box<str>,
    store: Arc<dyn LinkStore>,
    metrics: Metrics,
    table: RwLock<Table>,
    /// Whether the table has a domain besides the default one. Without, nobody needs the lock to know that a host is none.
    has_others: AtomicBool,
    started: Instant,
    /// Milliseconds since `started` at which the table is to be read again.
    due_ms: AtomicU64,
    /// From when on it is read for somebody who doubts it.
    doubtable_ms: AtomicU64,
    /// One reading at a time, so that none takes the place of a later one.
    turn: Semaphore,
    /// Whether one waits for its turn: it reads what is there then, so one will do.
    waits: AtomicBool,
    _listener: Listener,
}

/// All domains, once they have been read.
#[derive(Default)]
struct Table {
    read: bool,
    domains: HashMap<Box<str>, DomainRedirects>,
    /// One more with each change made here: a reading that began before it is not taken.
    changes: u64,
}

impl Table {
    fn has_others(&self) -> bool {
        self.domains.keys().any(|domain| **domain != *DEFAULT_DOMAIN)
    }
}

impl Domains {
    /// A table of the domains in `store`, none of them read yet. `base_url` names the default domain; what other instances
    /// change is read again. Within a tokio runtime.
    pub fn new(
        base_url: &Url,
        store: Arc<dyn LinkStore>,
        shared: &dyn SharedState,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new_cyclic(|domains: &Weak<Self>| {
            let listening = Weak::clone(domains);
            let listener = listen(shared, move |change| {
                if let Some(domains) = listening.upgrade() {
                    domains.heard(&change);
                }
            });
            Self {
                default: base_url.authority().into(),
                store,
                metrics,
                table: RwLock::default(),
                has_others: AtomicBool::new(false),
                started: Instant::now(),
                due_ms: AtomicU64::new(0),
                doubtable_ms: AtomicU64::new(0),
                turn: Semaphore::new(1),
                waits: AtomicBool::new(false),
                _listener: listener,
            }
        })
    }

    /// The domain that a host belongs to: its name in the store. A host that is no domain's is the default one's, so
    /// that made-up hosts are looked up nowhere. Before the first reading every host is taken for a domain.
    pub fn named<'a>(self: &Arc<Self>, host: &'a str) -> Cow<'a, str> {
        if *host == *self.default || host.is_empty() {
            return Cow::Borrowed(DEFAULT_DOMAIN);
        }
        let Some(authority) = authority(host) else { return Cow::Borrowed(DEFAULT_DOMAIN) };
        if *authority == *self.default {
            return Cow::Borrowed(DEFAULT_DOMAIN);
        }
        self.read_if_due();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if !table.read || table.domains.contains_key(&*authority) {
            return authority;
        }
        Cow::Borrowed(DEFAULT_DOMAIN)
    }

    /// Whether a host is one of ours: of one of the domains, or the one that was `asked`. Both as they are written in
    /// requests and URLs. Asked for each redirect, so it makes nothing and waits for nothing.
    pub fn is_ours(&self, host: &str, asked: &str) -> bool {
        let Some(authority) = authority(host) else { return false };
        if *authority == *self.default || (self.has_others.load(Ordering::Acquire) && self.knows(&authority))
        {
            return true;
        }
        // Most differ in their first letter.
        let first = |text: &str| text.bytes().next().map(|byte| byte.to_ascii_lowercase());
        first(&authority) == first(asked) && self::authority(asked).is_some_and(|asked| asked == authority)
    }

    /// Where a visit of `host` that reached no link is sent: what its domain says, or else the default one.
    pub fn orphans_go(self: &Arc<Self>, domain: &str, kind: Orphan, host: &str, path: &str) -> Option<Url> {
        self.read_if_due();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let redirect = |domain: &str| of_kind(table.domains.get(domain)?, kind).cloned();
        let redirect = redirect(domain).or_else(|| redirect(DEFAULT_DOMAIN))?;
        drop(table);
        filled(&redirect, host, path)
    }

    /// Takes in a domain as it was just stored, here. It is read again all the same: of two changes at once the later one
    /// may come first.
    pub fn put(self: &Arc<Self>, domain: Domain) {
        self.insert(domain);
        self.read_again();
    }

    fn insert(&self, domain: Domain) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.changes += 1;
        table.domains.insert(domain.authority.into(), domain.redirects);
        self.has_others.store(table.has_others(), Ordering::Release);
    }

    /// A link was just stored, here, which makes its domain known.
    pub fn has_link(&self, domain: &str) {
        if !self.knows(domain) {
            self.insert(Domain { authority: domain.to_owned(), redirects: DomainRedirects::default() });
        }
    }

    /// Reads the domains from the store.
    ///
    /// # Errors
    /// When the store does not answer. What was read before stays.
    pub async fn read(&self) -> Result<(), StoreError> {
        let _turn = self.turn.acquire().await;
        self.waits.store(false, Ordering::SeqCst);
        let before = self.table.read().unwrap_or_else(PoisonError::into_inner).changes;
        let started = Instant::now();
        let read = self.store.domains().await;
        self.metrics.store_called("domains", started.elapsed());
        let domains = read.inspect_err(|error| self.metrics.store_failed(error.kind()))?;
        let domains = domains.into_iter().map(|domain| (domain.authority.into(), domain.redirects)).collect();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.changes == before {
            (table.read, table.domains) = (true, domains);
            self.has_others.store(table.has_others(), Ordering::Release);
            self.due_ms.store(self.now_ms() + FRESH_MS, Ordering::Relaxed);
        } else {
            self.due_ms.store(self.now_ms() + RETRY_MS, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Another instance has changed something.
    fn heard(self: &Arc<Self>, change: &Change) {
        let concerns = match change {
            Change::Link { domain, .. } => !self.knows(domain),
            Change::Domains | Change::Unknown => true,
            Change::Keys => false,
        };
        if concerns {
            self.read_again();
        }
    }

    /// Has the table read by a task of its own, unless one waits to do so.
    pub fn read_again(self: &Arc<Self>) {
        if self.waits.swap(true, Ordering::SeqCst) {
            return;
        }
        let domains = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = domains.read().await {
                tracing::warn!(kind = error.kind(), "domains were not read; the old ones stay");
            }
        });
    }

    /// Whether this is the name of one of the domains.
    pub fn knows(&self, domain: &str) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        domain == DEFAULT_DOMAIN || table.domains.contains_key(domain)
    }

    /// How many domains there are, the default one included.
    pub fn count(&self) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.domains.len()
    }

    /// A caller names a domain that is not in the table: another instance may have begun it just now. The table is read again,
    /// however many such calls there are, once in a while.
    pub fn doubted(self: &Arc<Self>) {
        if self.is_turn(&self.doubtable_ms, DOUBTED_MS) {
            self.read_again();
        }
    }

    /// Has the table read again, by a task of its own, when it is time. A reading that fails is tried again after the pause.
    fn read_if_due(self: &Arc<Self>) {
        if self.is_turn(&self.due_ms, RETRY_MS) {
            self.read_again();
        }
    }

    /// Whether it is `due`, for whoever moves that on.
    fn is_turn(&self, due: &AtomicU64, pause_ms: u64) -> bool {
        let (now, at) = (self.now_ms(), due.load(Ordering::Relaxed));
        now >= at && due.compare_exchange(at, now + pause_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn of_kind(redirects: &DomainRedirects, kind: Orphan) -> Option<&String> {
    match kind {
        Orphan::BaseUrl => redirects.base_url.as_ref(),
        Orphan::Regular404 => redirects.regular_404.as_ref(),
        Orphan::InvalidShortUrl => redirects.invalid_short_url.as_ref(),
        Orphan::None => None,
    }
}

/// A host as domains are named: lower case, without the dot at its end and a port that is a scheme's own.
/// Nothing when it is too long to be one.
fn authority(host: &str) -> Option<Cow<'_, str>> {
    if host.len() > AUTHORITY_BYTES_MAX {
        return None;
    }
    let bare = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    // Nothing but a port follows a colon that a dot stands before.
    if bare.bytes().any(|byte| byte.is_ascii_uppercase())
        || bare.as_bytes().windows(2).any(|two| two == b".:")
    {
        return Some(Cow::Owned(bare.to_ascii_lowercase().replace(".:", ":")));
    }
    Some(Cow::Borrowed(bare))
}

/// The URL with what it says in place of `{DOMAIN}` and `{ORIGINAL_PATH}`, in its path and query only: a visitor
/// can't choose the host.
fn filled(redirect: &str, host: &str, path: &str) -> Option<Url> {
    let mut url = Url::parse(redirect).ok()?;
    // Without a host the path says where it leads.
    let is_whole = !redirect.contains("DOMAIN") && !redirect.contains("ORIGINAL_PATH");
    if is_whole || !url.has_host() {
        return Some(url);
    }
    let fill = |text: &str, host: &str, path: &str| {
        let text = DOMAIN.iter().fold(text.to_owned(), |text, name| text.replace(name, host));
        ORIGINAL_PATH.iter().fold(text, |text, name| text.replace(name, path))
    };
    let filled = fill(url.path(), host, path).replace("//", "/");
    url.set_path(&filled);
    if let Some(query) = url.query() {
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let filled = fill(query, &encoded(host), &encoded(path));
        url.set_query(Some(&filled));
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_as_domains_are() {
        let cases = [
            ("s.example", Some("s.example")),
            ("S.Example.:443", Some("s.example")),
            ("s.example:80", Some("s.example")),
            ("s.example:8080", Some("s.example:8080")),
            ("S.example.:8080", Some("s.example:8080")),
            ("s.example.:8080", Some("s.example:8080")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]")),
        ];
        for (host, expected) in cases {
            assert_eq!(authority(host).as_deref(), expected, "{host}");
        }
        assert_eq!(authority(&"a".repeat(260)), None);
    }

    #[tokio::test]
    async fn what_another_instance_changes_is_read() {
        use crate::domain::DomainRedirectsEdit;
        use crate::store::sqlite::SqliteStore;
        let directory = tempfile::tempdir().unwrap();
        let config = crate::config::StoreConfig { path: directory.path().join("l.db"), ..Default::default() };
        let store = Arc::new(SqliteStore::open(&config).await.unwrap());
        store.migrate().await.unwrap();
        let base_url = Url::parse("https://s.example/").unwrap();
        let alone = crate::shared::local::LocalState::default();
        let domains = Domains::new(&base_url, store.clone(), &alone, Metrics::default());
        assert_eq!(domains.named("two.example"), "two.example", "nothing is known yet");
        domains.read().await.unwrap();
        assert_eq!(domains.named("two.example"), DEFAULT_DOMAIN);
        let goes = |domains: &Arc<Domains>| domains.orphans_go("", Orphan::BaseUrl, "s.example", "/");
        assert_eq!(goes(&domains), None);
        let target = crate::target::parse("https://e.example/", &Default::default()).unwrap();
        let edit = DomainRedirectsEdit { base_url: Some(Some(target)), ..Default::default() };
        store.set_domain_redirects("", &edit).await.unwrap().unwrap();
        domains.heard(&Change::Domains);
        let seen = async {
            while goes(&domains).is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), seen).await.unwrap();
        domains.has_link("three.example");
        assert_eq!(domains.named("Three.example:443"), "three.example");
        for (host, is_ours) in [
            ("three.example", true),
            ("THREE.example.:443", true),
            ("s.example:80", true),
            ("three.example:8443", false),
            ("four.example", false),
            ("asked.example", true),
            ("Asked.example.:80", true),
            ("asked.example:8443", false),
            ("asked.example.org", false),
        ] {
            assert_eq!(domains.is_ours(host, "asked.example"), is_ours, "{host}");
        }
    }

    #[test]
    fn placeholders_are_filled_in_paths_and_queries() {
        let cases = [
            ("https://e.example/", "https://e.example/"),
            ("https://e.example/{ORIGINAL_PATH}", "https://e.example/a/%C3%A4"),
            (
                "https://e.example/on/{DOMAIN}{ORIGINAL_PATH}?x=1",
                "https://e.example/on/s.example/a/%C3%A4?x=1",
            ),
            (
                "https://e.example/?from={DOMAIN}&path={ORIGINAL_PATH}#f",
                "https://e.example/?from=s.example&path=%2Fa%2F%25C3%25A4#f",
            ),
            ("app://open/{ORIGINAL_PATH}", "app://open/a/%C3%A4"),
            ("mailto:{DOMAIN}", "mailto:{DOMAIN}"),
            ("app:/{ORIGINAL_PATH}", "app:/%7BORIGINAL_PATH%7D"),
        ];
        for (redirect, expected) in cases {
            let stored = Url::parse(redirect).unwrap();
            let found = filled(stored.as_str(), "s.example", "/a/%C3%A4");
            assert_eq!(found.as_ref().map(Url::as_str), Some(expected), "{redirect}");
        }
        let hostile = filled("https://e.example/{ORIGINAL_PATH}", "h", "//evil.example/..//%0d%0a").unwrap();
        assert_eq!(hostile.host_str(), Some("e.example"), "{hostile}");
    }
}
