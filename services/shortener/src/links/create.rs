//! Creation of links: one or a thousand, all in one transaction, and once for a key however often it is asked for.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::stream;

use super::{Alias, CreateError, CreateLink, Links};
use crate::codes;
use crate::link::{Link, NewLink, UnixSeconds};
use crate::store::{Claim, Claimed, Created, Creation, Settled, StoreError};
use emitter::Hop;

/// Generated codes that custom slugs may already have, in a row. Slugs can't aim at codes without the key, so with
/// a hundred million of them a code is hit once in 35,000; eight in a row mean that something else is wrong.
pub(super) const SKIPS_MAX: u32 = 8;

/// How long a try of a request that has an idempotency key holds it, seconds. Far longer than a creation takes, so
/// that two tries at once are rare (and then the store lets one of them through); a client whose first try fell with
/// its process waits no longer.
const CLAIM_LEASE_S: u32 = 30;

/// Announcements of new links under way at once: a thousand one after the other would take as many round trips.
const ANNOUNCED_AT_ONCE: usize = 16;

/// Slugs suggested for one that is taken: a choice that fits below a form field.
const SUGGESTIONS_MAX: usize = 5;

/// What makes a creation happen once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Whose key it is: [`crate::keys::ApiKey::owner`].
    pub owner: String,
    /// The client's key.
    pub key: String,
    /// Hash of what is requested.
    pub payload: [u8; 32],
}

impl Once {
    /// That of one part of a request that is made in several transactions; the first is 0.
    #[must_use]
    pub fn part(&self, number: usize) -> Self {
        // No client's key has a space.
        let key = if number == 0 { self.key.clone() } else { format!("{} {number}", self.key) };
        Self { key, ..self.clone() }
    }
}

/// What became of one of the links to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    New(Link),
    /// One that is as good was there.
    Found(Link),
    /// Another link has the alias.
    Taken,
    /// It was made or found by an earlier try of the same request, and deleted since.
    Gone,
    /// It can be no link, or could be none when an earlier try of the same request was settled.
    Refused,
}

/// What became of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Each, in the order given; links as they are now.
    pub all: Vec<Made>,
    /// Whether an earlier try did it.
    pub replayed: bool,
}

impl From<Created> for Made {
    fn from(created: Created) -> Self {
        match created {
            Created::New(link) => Self::New(link),
            Created::Found(link) => Self::Found(link),
            Created::Taken => Self::Taken,
        }
    }
}

impl Links {
    /// Makes links, all of them in one transaction, each unless its alias is taken; an item without a request can be none.
    /// With `once`, an earlier try of the same request is answered for instead: item by item, whatever they could be by now.
    pub async fn create(
        &self,
        hop: &Hop,
        items: &[Option<CreateLink>],
        once: Option<Once>,
    ) -> Result<Outcome, CreateError> {
        let requests: Vec<&CreateLink> = items.iter().flatten().collect();
        let Some(once) = once else {
            let made = self.create_now(hop, &requests, None).await?;
            return Ok(Outcome { all: placed(items, made), replayed: false });
        };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(CreateError::Random)?;
        let refused = items.iter().enumerate().filter(|(_, item)| item.is_none());
        let refused = refused.map(|(place, _)| place).collect();
        let claim = Claim { owner: once.owner, key: once.key, payload: once.payload, nonce, refused };
        let claimed = self.timed(hop, "claim", self.store.claim(&claim, CLAIM_LEASE_S)).await;
        match claimed.map_err(CreateError::Store)? {
            Claimed::InFlight => Err(CreateError::InFlight),
            Claimed::Mismatch => Err(CreateError::OtherPayload),
            Claimed::Done(settled) if settled.len() != items.len() => Err(CreateError::OtherPayload),
            Claimed::Done(settled) => Ok(Outcome { all: self.settled(hop, &settled).await?, replayed: true }),
            Claimed::Ours => {
                let made = self.create_now(hop, &requests, Some(&claim)).await;
                if made.is_err() && self.timed(hop, "unclaim", self.store.unclaim(&claim)).await.is_err() {
                    // The lease ends by itself.
                    tracing::debug!("a claim could not be given up");
                }
                Ok(Outcome { all: placed(items, made?), replayed: false })
            }
        }
    }

    async fn create_now(
        &self,
        hop: &Hop,
        requests: &[&CreateLink],
        claim: Option<&Claim>,
    ) -> Result<Vec<Made>, CreateError> {
        if let ([CreateLink { unless: Some(by), target, .. }], None) = (requests, claim) {
            // Without a transaction first: what is found costs neither a write nor a code.
            let found = self.find_match(hop, target.as_str(), by).await;
            if let Some(found) = found.map_err(CreateError::Store)? {
                return Ok(vec![Made::Found(found)]);
            }
        }
        let mut links = Vec::with_capacity(requests.len());
        for request in requests {
            links.push(request.to_store(self.code(&request.alias).await?));
        }
        for _ in 0..SKIPS_MAX {
            let many = links.len() > 1;
            let creation = self.write(hop, "create", many, self.store.create(&links, claim)).await;
            match creation.map_err(CreateError::Store)? {
                Creation::Done(all) => {
                    let new = all.iter().filter_map(|created| match created {
                        Created::New(link) => Some(link),
                        Created::Found(_) | Created::Taken => None,
                    });
                    stream::iter(new).for_each_concurrent(ANNOUNCED_AT_ONCE, |link| self.took_in(link)).await;
                    return Ok(all.into_iter().map(Made::from).collect());
                }
                // Slugs that somebody chose are the codes of these ids: the ids are spent, the next ones are others.
                Creation::Collided(places) => {
                    self.metrics.codes_skipped.inc_by(places.len() as u64);
                    for place in places {
                        links[place].code = self.code(&requests[place].alias).await?;
                    }
                }
                Creation::ClaimLost => return Err(CreateError::InFlight),
            }
        }
        Err(CreateError::CodesTaken)
    }

    async fn code(&self, alias: &Alias) -> Result<String, CreateError> {
        match alias {
            Alias::Custom { slug, .. } => Ok(slug.clone()),
            Alias::Generated { prefix, length } => {
                let code = self.codes.next(*length).await.map_err(CreateError::Code)?;
                Ok(format!("{prefix}{code}"))
            }
        }
    }

    /// What an earlier try did, with the links as they are now.
    async fn settled(&self, hop: &Hop, settled: &[Settled]) -> Result<Vec<Made>, CreateError> {
        let ids: Vec<i64> = settled.iter().filter_map(Settled::link_id).collect();
        let links = self.timed(hop, "find_ids", self.store.find_ids(&ids)).await;
        let links: HashMap<i64, Link> =
            links.map_err(CreateError::Store)?.into_iter().map(|link| (link.id, link)).collect();
        let made = |settled: &Settled| match settled {
            Settled::New(id) => links.get(id).cloned().map_or(Made::Gone, Made::New),
            Settled::Found(id) => links.get(id).cloned().map_or(Made::Gone, Made::Found),
            Settled::Taken => Made::Taken,
            Settled::Refused => Made::Refused,
        };
        Ok(settled.iter().map(made).collect())
    }

    /// Free slugs like those of links that could not be made, each behind the same prefix: for each the nicest few. None
    /// where the store does not answer: they are a courtesy.
    pub async fn suggestions(&self, hop: &Hop, asked: &[&CreateLink], bytes_max: usize) -> Vec<Vec<String>> {
        let mut random = [0; codes::RANDOM_BYTES];
        let mut all = Vec::with_capacity(asked.len());
        let mut by_domain = BTreeMap::<&str, Vec<String>>::new();
        for request in asked {
            if getrandom::fill(&mut random).is_err() {
                return vec![Vec::new(); asked.len()];
            }
            let (prefix, slug) = request.prefix_and_rest();
            let candidates = codes::candidates(prefix, slug, bytes_max, &random);
            let aliases = candidates.iter().map(|candidate| format!("{prefix}{candidate}"));
            by_domain.entry(&request.domain).or_default().extend(aliases);
            all.push(candidates);
        }
        let mut taken = HashSet::new();
        for (domain, candidates) in by_domain {
            match self.timed(hop, "taken", self.store.taken(domain, &candidates)).await {
                Ok(codes) => taken.extend(codes.into_iter().map(|code| (domain, code))),
                Err(_) => return vec![Vec::new(); asked.len()],
            }
        }
        for (request, candidates) in asked.iter().zip(&mut all) {
            let (domain, (prefix, _)) = (request.domain.as_str(), request.prefix_and_rest());
            candidates.retain(|candidate| !taken.contains(&(domain, format!("{prefix}{candidate}"))));
            candidates.truncate(SUGGESTIONS_MAX);
        }
        all
    }

    /// Which of these codes are taken on a domain.
    pub async fn taken(&self, hop: &Hop, domain: &str, codes: &[String]) -> Result<Vec<String>, StoreError> {
        self.timed(hop, "taken", self.store.taken(domain, codes)).await
    }

    /// Forgets idempotency keys used before a time, at most `limit`; returns how many.
    pub(crate) async fn forget_claims(&self, before: UnixSeconds, limit: u32) -> Result<u64, StoreError> {
        self.timed(&Hop::detached(), "forget_claims", self.store.forget_claims(before, limit)).await
    }

    /// Indexes the texts that creations and edits have left for later; how many pages of them there were.
    pub(crate) async fn index_texts(&self) -> Result<u64, StoreError> {
        self.timed(&Hop::detached(), "index_texts", self.store.index_texts()).await
    }
}

/// What became of the items, when `made` is what became of those with a request.
fn placed(items: &[Option<CreateLink>], made: Vec<Made>) -> Vec<Made> {
    let mut made = made.into_iter();
    let place = |item: &Option<CreateLink>| item.as_ref().and_then(|_| made.next()).unwrap_or(Made::Refused);
    items.iter().map(place).collect()
}

impl CreateLink {
    /// The slug asked for; empty where a code is to be generated.
    pub fn slug(&self) -> &str {
        match &self.alias {
            Alias::Custom { slug, .. } => slug,
            Alias::Generated { .. } => "",
        }
    }

    /// What was chosen apart of the slug, and what comes after it; both are empty where a code is to be generated.
    fn prefix_and_rest(&self) -> (&str, &str) {
        match &self.alias {
            // Space at an end of a slug is dropped, so that one without anything else leaves less than the prefix.
            Alias::Custom { slug, prefix } => (prefix, slug.strip_prefix(&**prefix).unwrap_or_default()),
            Alias::Generated { .. } => ("", ""),
        }
    }

    fn to_store(&self, code: String) -> NewLink {
        NewLink {
            domain: self.domain.clone(),
            code,
            generated: matches!(self.alias, Alias::Generated { .. }),
            target: self.target.clone(),
            settings: self.settings.clone(),
            rules: self.rules.clone(),
            owner: self.owner.clone(),
            created_at: self.created_at,
            visits_from: self.visits_from,
            unless: self.unless.clone(),
        }
    }
}
