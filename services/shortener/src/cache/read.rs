//! How a link is read that memory does not have, or has for too long: from what other instances have read, then from the
//! store, within bounds. What comes of it is kept here, and shared with other instances.

use std::sync::Arc;
use std::time::{Duration, Instant};

use emitter::{Hop, System, Wait};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::age::Age;
use super::encoding::Shared;
use super::flight::{Answer, Flight, Landing};
use super::{CachedLink, LinkCache, Lookup, LookupError, REDIS};
use crate::link::{Link, LinkRef};
use crate::shared::{Entry, SharedError, Version};
use crate::store::{Read, StoreError};
use wide_event::Cache as Tier;

/// What the store is asked, in metrics and spans.
const FIND: &str = "find";

/// What a read is for.
#[derive(Clone, Copy)]
struct Want {
    /// Another instance's copy will do up to this age.
    age_max: Duration,
    /// What memory has, or knows to be gone: nothing older replaces it unless the store insists.
    known: Option<Version>,
    /// It is known to have changed: a replica may not know yet.
    read: Read,
}

impl LinkCache {
    /// Reads a link, or waits for the read that is under way.
    pub(super) async fn ask(
        self: &Arc<Self>,
        hop: &Hop,
        name: LinkRef<'_>,
        code: &str,
        cached: Option<Arc<CachedLink>>,
    ) -> Result<Lookup, LookupError> {
        let (mut listening, flight) = self.flights.join(code);
        let coalesced = flight.is_none();
        match flight {
            Some(flight) => {
                self.fly(name, code, flight, self.want(code, cached.as_deref(), self.fresh_for()), None)
            }
            None => _ = self.metrics.coalesced.inc(),
        }
        let landed = listening.wait_for(Option::is_some);
        let answer = match &cached {
            // What is merely past its time is better than a long wait; what has changed is not.
            Some(link) if !link.age.is_outdated() => {
                let patience = Duration::from_millis(self.config.stale_wait_ms_max);
                match timeout(patience, landed).await {
                    Ok(answer) => answer.ok().and_then(|answer| answer.clone()),
                    // What the read waits for is not known yet: the store may not have been asked.
                    Err(_) => Some(Answer {
                        outcome: Err(LookupError::Busy),
                        tier: Tier::Stale,
                        waits: Vec::new(),
                        breaker: None,
                    }),
                }
            }
            _ => landed.await.ok().and_then(|answer| answer.clone()),
        };
        let Some(answer) = answer else { return Err(LookupError::Abandoned) };
        // Whoever waited for another hop's read has asked nobody.
        if !coalesced {
            answer.waits.iter().for_each(|wait| hop.waited(wait));
        }
        let (link, tier) = match (answer.outcome, cached) {
            (Ok(link), _) => (link, answer.tier),
            (Err(_), Some(stale)) => {
                stale.age.rest(self.retry());
                (Some(stale), Tier::Stale)
            }
            (Err(error), None) => return Err(error),
        };
        self.metrics.looked_up(tier);
        Ok(Lookup { link, tier, coalesced, breaker: answer.breaker })
    }

    /// Reads a link again that is still served, in the background, unless enough others are.
    pub(super) fn refresh(self: &Arc<Self>, name: LinkRef<'_>, code: &str, link: &CachedLink) {
        let Ok(place) = Arc::clone(&self.refreshes).try_acquire_owned() else { return };
        if !link.age.claim_refresh(self.retry()) {
            return;
        }
        if let (_, Some(flight)) = self.flights.join(code) {
            self.metrics.refreshed.inc();
            self.fly(
                name,
                code,
                flight,
                self.want(code, Some(link), Age::young(self.fresh_for())),
                Some(place),
            );
        }
    }

    fn want(&self, code: &str, cached: Option<&CachedLink>, age_max: Duration) -> Want {
        // Messages may have been lost: what others read before that is no better than what is here.
        let sure_for = self.unsure().elapsed();
        let is_sure = self.unsure() == self.started;
        let outdated = cached.is_some_and(|link| link.age.is_outdated());
        Want {
            age_max: if is_sure { age_max } else { age_max.min(sure_for) },
            known: cached.map(CachedLink::order).max(self.gone.get(code).map(Version::gone)),
            read: if outdated { Read::Latest } else { Read::Recent },
        }
    }

    /// A task of its own: a client that hangs up must not end the read for those who wait for it.
    fn fly(
        self: &Arc<Self>,
        name: LinkRef<'_>,
        code: &str,
        flight: Flight,
        want: Want,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let cache = Arc::clone(self);
        let (domain, name, code): (Box<str>, Box<str>, Box<str>) =
            (name.domain.into(), name.code.into(), code.into());
        tokio::spawn(async move {
            let name = LinkRef { domain: &domain, code: &name };
            if let Some(entry) = cache.read(name, &code, flight, want).await {
                cache.give(&code, entry).await;
            }
            drop(place);
        });
    }

    /// Reads, answers and keeps. Returns what other instances should have.
    async fn read(&self, name: LinkRef<'_>, code: &str, flight: Flight, want: Want) -> Option<Entry> {
        let landing = Landing { flights: &self.flights, code, flight: &flight };
        let (copy, wait, breaker) = self.read_shared(name, code).await;
        let waits = wait.into_iter().collect();
        let mut answer = Answer { outcome: Ok(None), tier: Tier::Redis, waits, breaker };
        let mut share = None;
        let mut gone = 0;
        // What memory has is no answer where it is known to have changed, whoever else has it too.
        let is_news = |version| {
            want.known.is_none_or(|known| version > known || (version == known && want.read == Read::Recent))
        };
        match copy {
            Some(Shared { link: Some(link), age, version }) if age < want.age_max && is_news(version) => {
                answer.outcome = Ok(Some(Arc::new(link)));
            }
            Some(Shared { link: None, age, version })
                if age < self.negative_for().min(want.age_max) && is_news(version) =>
            {
                gone = version.id;
            }
            copy => {
                let read_at = Instant::now();
                let known = want.known.max(copy.as_ref().map(|copy| copy.version));
                let found = self.read_store(name, want.read, known, &mut answer.waits).await;
                answer.tier = Tier::Store;
                match found {
                    Ok(Some(link)) => {
                        answer.outcome = cached(&link, read_at).map(Some);
                        share = Some(self.encoding.link(code, &link, self.stale(), read_at));
                    }
                    Ok(None) => {
                        // What was there has been deleted; what was never there may come at any time.
                        let version = known.map_or(Version::NOTHING, |known| Version::gone(known.id));
                        // A deletion is remembered for as long as somebody may still write what was before it.
                        let keep = if version.id > 0 { self.fresh_for() } else { self.negative_for() };
                        gone = version.id;
                        share = Some(self.encoding.nothing(code, version, keep, read_at));
                    }
                    Err(error) => self.go_without(&mut answer, error, copy, want),
                }
            }
        }
        let landed = landing.land(|| self.keep(code, &answer, gone));
        flight.send_replace(Some(answer));
        self.count_entries();
        share.filter(|_| landed)
    }

    /// Nobody can be asked: another instance's copy is served, however old, unless memory has a later one.
    fn go_without(&self, answer: &mut Answer, error: LookupError, copy: Option<Shared>, want: Want) {
        self.metrics.store_failed(error.kind());
        if error.breaker().is_some() {
            answer.breaker = error.breaker();
        }
        if let Some(Shared { link: None, version, .. }) = &copy
            && version.id > 0
            && want.known.is_none_or(|known| *version >= known)
        {
            // It was deleted, as others know: what memory has is no better than nothing.
            (answer.outcome, answer.tier) = (Ok(None), Tier::Redis);
            return;
        }
        let link = copy.and_then(|copy| copy.link).filter(|link| {
            link.age.elapsed() < self.stale() && want.known.is_none_or(|known| link.order() > known)
        });
        answer.outcome = match link {
            Some(link) => {
                link.age.rest(self.retry());
                answer.tier = Tier::Stale;
                Ok(Some(Arc::new(link)))
            }
            None => Err(error),
        };
    }

    fn keep(&self, code: &str, answer: &Answer, gone: i64) {
        match &answer.outcome {
            Ok(Some(link)) => {
                self.unknown.invalidate(code);
                self.links.insert(code.into(), Arc::clone(link));
            }
            Ok(None) => {
                self.links.remove(code);
                self.unknown.insert(code.into(), ());
                if gone > 0 {
                    self.gone.insert(code.into(), gone);
                }
            }
            Err(_) => {}
        }
    }

    async fn read_shared(
        &self,
        name: LinkRef<'_>,
        code: &str,
    ) -> (Option<Shared>, Option<Wait>, Option<&'static str>) {
        if !self.shares {
            return (None, None, None);
        }
        let started = Instant::now();
        let answer = self.shared.get(code).await;
        let wait = Wait::since(started, System::Redis, "get", answer.is_err());
        match answer {
            Ok(entry) => (entry.and_then(|entry| self.encoding.read(name, code, &entry)), Some(wait), None),
            Err(SharedError::BreakerOpen) => (None, None, Some(REDIS)),
            Err(_) => (None, Some(wait), None),
        }
    }

    /// Asks the store when it is this read's turn, and notes what was waited for: the store's answers, not the turn.
    async fn read_store(
        &self,
        name: LinkRef<'_>,
        read: Read,
        known: Option<Version>,
        waits: &mut Vec<Wait>,
    ) -> Result<Option<Link>, LookupError> {
        let turn = Duration::from_millis(self.config.store_wait_ms_max);
        let _place = timeout(turn, self.reads.acquire()).await.map_err(|_| LookupError::Busy)?;
        let found = self.find(name, read, waits).await?;
        let is_older = match (&found, known) {
            (Some(link), Some(known)) => Version { id: link.id, revision: link.revision } < known,
            _ => false,
        };
        // A replica that is behind. What the primary says holds, whatever it is.
        if is_older && read == Read::Recent { self.find(name, Read::Latest, waits).await } else { Ok(found) }
    }

    async fn find(
        &self,
        name: LinkRef<'_>,
        read: Read,
        waits: &mut Vec<Wait>,
    ) -> Result<Option<Link>, LookupError> {
        let found = match self.breaker.admit() {
            Ok(call) => {
                let started = Instant::now();
                let found = self.store.find(name, read).await;
                let wait = Wait::since(started, self.store.system(), FIND, found.is_err());
                self.metrics.store_called(FIND, wait.took);
                waits.push(wait);
                call.ended(&found, StoreError::is_outage);
                found
            }
            Err(_) => Err(StoreError::BreakerOpen),
        };
        found.map_err(|error| LookupError::Store(Arc::new(error)))
    }

    fn negative_for(&self) -> Duration {
        Duration::from_millis(self.config.negative_ms)
    }
}

fn cached(link: &Link, read_at: Instant) -> Result<Arc<CachedLink>, LookupError> {
    let corrupt = || StoreError::Corrupt(format!("target of link {} is no URL", link.id));
    CachedLink::read_at(link, read_at).map(Arc::new).ok_or_else(|| LookupError::Store(Arc::new(corrupt())))
}
