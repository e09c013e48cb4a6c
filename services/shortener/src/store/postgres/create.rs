//! Creation in the PostgreSQL store: any number of links, and the claim they are made under, in one transaction.
//!
//! What a transaction waits for it locks in one order: tags by name, targets by hash, aliases, counts. So two creations
//! do not wait for each other; where they do all the same, because a bulk had to be made in several runs, PostgreSQL
//! ends one of them and it is tried again.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row};

use super::counts::Counts;
use super::links::hash_text;
use super::pool::failed;
use super::tags::{self, TagIds};
use super::{Claim, Created, Creation, StoreError, claims, matches, rows};
use crate::keys::now;
use crate::link::{Link, NewLink};

/// Tries of a creation that PostgreSQL ended for a deadlock. Each means that another one went through.
const TRIES_MAX: usize = 5;

/// SQLSTATE of who was ended for it.
const DEADLOCK: &str = "40P01";

/// Locks on targets: so many can be looked for and made at the same time. One for each target would be more than the
/// server has room for.
const TARGET_LOCKS: i32 = 256;

/// First half of the key of such a lock; any number that nothing else in the database uses.
const TARGET_LOCK: i32 = 0x686f_7074;

/// Ids in the order given, aliases in the order of their index.
const INSERT: &str = "WITH given AS MATERIALIZED (
         SELECT nextval('links_id_seq') AS id, row.* FROM unnest(
             $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
             $9::bigint[], $10::bigint[], $11::bigint[], $12::boolean[], $13::boolean[], $14::smallint[],
             $15::bigint[], $16::text[], $17::bigint[])
         AS row (domain, code, target, target_hash, title, owner, tags, created_at, valid_since, valid_until,
                 max_visits, crawlable, forward_query, redirect_status, cache_lifetime_s, rules, visits_from))
     INSERT INTO links (id, revision, domain, code, target, target_hash, title, owner, tags, created_at, valid_since, valid_until,
                        max_visits, crawlable, forward_query, redirect_status, cache_lifetime_s, rules, visits_from)
     SELECT id, 1 - (SELECT coalesce(sum(revision), 0) FROM tags WHERE tags.id = ANY (given.tags::integer[])),
            domain, code, target, target_hash::uuid, title, owner, tags::integer[], created_at, valid_since,
            valid_until, max_visits, crawlable, forward_query, redirect_status, cache_lifetime_s, rules::json,
            visits_from
     FROM given ORDER BY code COLLATE \"C\", domain COLLATE \"C\", id
     ON CONFLICT (code, domain) DO NOTHING RETURNING id, domain, code";

pub(super) async fn create(
    connection: &mut PgConnection,
    links: &[NewLink],
    claim: Option<&Claim>,
) -> Result<Creation, StoreError> {
    for _ in 1..TRIES_MAX {
        match try_create(&mut *connection, links, claim).await {
            Err(error) if is_deadlock(&error) => {}
            done => return done,
        }
    }
    try_create(connection, links, claim).await
}

fn is_deadlock(error: &StoreError) -> bool {
    let StoreError::Unavailable(source) = error else { return false };
    let said = source.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error());
    said.is_some_and(|said| said.code().is_some_and(|code| code == DEADLOCK))
}

async fn try_create(
    connection: &mut PgConnection,
    links: &[NewLink],
    claim: Option<&Claim>,
) -> Result<Creation, StoreError> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    let tags = tags_of(&mut transaction, links).await?;
    lock_targets(&mut transaction, links).await?;
    let mut all = Vec::with_capacity(links.len());
    let mut rest = links;
    while !rest.is_empty() {
        let (run, later) = rest.split_at(run_length(rest));
        all.extend(create_run(&mut transaction, run, &tags).await?);
        rest = later;
    }
    let pairs = || links.iter().zip(&all);
    let collided = pairs().enumerate().filter(|(_, (link, made))| link.generated && **made == Created::Taken);
    let collided: Vec<usize> = collided.map(|(at, _)| at).collect();
    if !collided.is_empty() {
        transaction.rollback().await.map_err(failed)?;
        return Ok(Creation::Collided(collided));
    }
    if let Some(claim) = claim
        && !claims::finish(&mut transaction, claim, &all).await?
    {
        transaction.rollback().await.map_err(failed)?;
        return Ok(Creation::ClaimLost);
    }
    let mut counts = Counts::default();
    for made in &all {
        if let Created::New(link) = made {
            let ids = link.settings.tags.iter().filter_map(|name| tags.get(name).copied());
            counts.link(link, ids, 1);
        }
    }
    counts.store(&mut transaction).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(Creation::Done(all))
}

async fn tags_of(transaction: &mut PgConnection, links: &[NewLink]) -> Result<TagIds, StoreError> {
    let names: BTreeSet<String> = links.iter().flat_map(|link| link.settings.tags.iter().cloned()).collect();
    if names.is_empty() {
        return Ok(TagIds::new());
    }
    tags::protect(&mut *transaction).await?;
    tags::made(transaction, &names).await
}

/// Of two creations that take an equal link instead, the second looks for it when the first has made it.
async fn lock_targets(transaction: &mut PgConnection, links: &[NewLink]) -> Result<(), StoreError> {
    let wanted = links.iter().filter(|link| link.unless.is_some());
    let locks: BTreeSet<i32> = wanted.map(|link| i32::from(link.target.hash()[0]) % TARGET_LOCKS).collect();
    if locks.is_empty() {
        return Ok(());
    }
    let locks: Vec<i32> = locks.into_iter().collect();
    sqlx::query("SELECT pg_advisory_xact_lock($1, lock) FROM unnest($2::integer[]) AS lock")
        .bind(TARGET_LOCK)
        .bind(locks)
        .execute(transaction)
        .await
        .map_err(failed)?;
    Ok(())
}

/// How many of these links can be made with one statement: up to the first that may be equal to one before it.
fn run_length(links: &[NewLink]) -> usize {
    let mut targets = HashSet::new();
    let depends = |link: &NewLink| !targets.insert(link.target.hash()) && link.unless.is_some();
    links.iter().position(depends).unwrap_or(links.len())
}

async fn create_run(
    transaction: &mut PgConnection,
    links: &[NewLink],
    tags: &TagIds,
) -> Result<Vec<Created>, StoreError> {
    let wanted: Vec<_> =
        links.iter().filter_map(|link| Some((link.target.as_str(), link.unless.as_ref()?))).collect();
    let mut matches = matches::find(&mut *transaction, &wanted).await?.into_iter();
    let mut match_of = |link: &NewLink| link.unless.as_ref().and_then(|_| matches.next().flatten());
    let found: Vec<_> = links.iter().map(&mut match_of).collect();
    let mut columns = Columns::default();
    let created_at = now();
    for (link, _) in links.iter().zip(&found).filter(|(_, found)| found.is_none()) {
        columns.push(link, tags, created_at)?;
    }
    let mut made = columns.insert(transaction).await?;
    let outcome = links.iter().zip(found).map(|(link, found)| match found {
        Some(found) => Created::Found(found),
        // The first of those with the same alias has it.
        None => match made.remove(&(link.domain.clone(), link.code.clone())) {
            Some(id) => Created::New(stored(link, id, created_at)),
            None => Created::Taken,
        },
    });
    Ok(outcome.collect())
}

/// The link that was stored.
fn stored(link: &NewLink, id: i64, created_at: i64) -> Link {
    Link {
        id,
        domain: link.domain.clone(),
        code: link.code.clone(),
        target: link.target.as_str().to_owned(),
        version: 1,
        revision: 1,
        created_at: link.created_at.unwrap_or(created_at),
        visits: 0,
        visits_from: link.visits_from,
        owner: link.owner.clone(),
        settings: link.settings.clone(),
        rules: link.rules.clone(),
    }
}

/// Links column by column, as one statement takes any number of them.
#[derive(Debug, Default)]
struct Columns {
    domain: Vec<String>,
    code: Vec<String>,
    target: Vec<String>,
    target_hash: Vec<String>,
    title: Vec<Option<String>>,
    owner: Vec<Option<String>>,
    /// An array of arrays has no gaps, so each is a text here.
    tags: Vec<Option<String>>,
    created_at: Vec<i64>,
    valid_since: Vec<Option<i64>>,
    valid_until: Vec<Option<i64>>,
    max_visits: Vec<Option<i64>>,
    crawlable: Vec<bool>,
    forward_query: Vec<bool>,
    redirect_status: Vec<Option<i16>>,
    cache_lifetime_s: Vec<Option<i64>>,
    rules: Vec<Option<String>>,
    visits_from: Vec<Option<i64>>,
}

impl Columns {
    fn push(&mut self, link: &NewLink, tags: &TagIds, created_at: i64) -> Result<(), StoreError> {
        let settings = &link.settings;
        self.domain.push(link.domain.clone());
        self.code.push(link.code.clone());
        self.target.push(link.target.as_str().to_owned());
        self.target_hash.push(hash_text(link.target.hash()));
        self.title.push(settings.title.clone());
        self.owner.push(link.owner.clone());
        let ids: Vec<String> =
            settings.tags.iter().filter_map(|name| tags.get(name)).map(i32::to_string).collect();
        self.tags.push((!ids.is_empty()).then(|| format!("{{{}}}", ids.join(","))));
        self.created_at.push(link.created_at.unwrap_or(created_at));
        self.valid_since.push(settings.valid_since);
        self.valid_until.push(settings.valid_until);
        self.max_visits.push(settings.max_visits);
        self.crawlable.push(settings.crawlable);
        self.forward_query.push(settings.forward_query);
        self.redirect_status.push(rows::status_number(settings.redirect_status));
        self.cache_lifetime_s.push(settings.cache_lifetime_s.map(i64::from));
        self.rules.push(rows::rules_text(&link.rules)?);
        self.visits_from.push(link.visits_from);
        Ok(())
    }

    /// Stores them; the ids of those that got their alias, by domain and code.
    async fn insert(
        self,
        transaction: &mut PgConnection,
    ) -> Result<HashMap<(String, String), i64>, StoreError> {
        if self.code.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = sqlx::query(INSERT)
            .bind(self.domain)
            .bind(self.code)
            .bind(self.target)
            .bind(self.target_hash)
            .bind(self.title)
            .bind(self.owner)
            .bind(self.tags)
            .bind(self.created_at)
            .bind(self.valid_since)
            .bind(self.valid_until)
            .bind(self.max_visits)
            .bind(self.crawlable)
            .bind(self.forward_query)
            .bind(self.redirect_status)
            .bind(self.cache_lifetime_s)
            .bind(self.rules)
            .bind(self.visits_from)
            .fetch_all(transaction)
            .await
            .map_err(failed)?;
        let ids = rows.iter().map(|row| {
            let name = (row.try_get("domain")?, row.try_get("code")?);
            Ok((name, row.try_get("id")?))
        });
        ids.collect::<Result<_, sqlx::Error>>().map_err(failed)
    }
}
