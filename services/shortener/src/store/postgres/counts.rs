//! How many links there are, by tag, domain and owner: kept exactly, in the transaction that makes or removes links.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::StoreError;
use super::pool::failed;
use crate::link::Link;

/// The tag that stands for all links.
const ALL: i32 = 0;

/// How many links more or less there are. In the order of the keys, so that two transactions never wait for each other.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<(i32, String, String), i64>);

impl Counts {
    /// `change` more links like this one, which has these tags.
    pub(super) fn link(&mut self, link: &Link, tags: impl IntoIterator<Item = i32>, change: i64) {
        self.add(ALL, link, change);
        self.tags(link, tags, change);
    }

    /// `change` more of these tags on links like this one.
    pub(super) fn tags(&mut self, link: &Link, tags: impl IntoIterator<Item = i32>, change: i64) {
        for tag in tags {
            self.add(tag, link, change);
        }
    }

    fn add(&mut self, tag: i32, link: &Link, change: i64) {
        let owner = link.owner.clone().unwrap_or_default();
        *self.0.entry((tag, link.domain.clone(), owner)).or_default() += change;
    }

    /// Stores them. The last thing before the commit: others that change the same numbers wait until then.
    pub(super) async fn store(self, transaction: &mut PgConnection) -> Result<(), StoreError> {
        let (mut tags, mut domains, mut owners, mut changes) = (vec![], vec![], vec![], vec![]);
        for ((tag, domain, owner), change) in self.0.into_iter().filter(|(_, change)| *change != 0) {
            tags.push(tag);
            domains.push(domain);
            owners.push(owner);
            changes.push(change);
        }
        if tags.is_empty() {
            return Ok(());
        }
        // Neighbouring connections have neighbouring ids, so eight of them hardly ever share a row.
        sqlx::query(
            "INSERT INTO link_counts AS counts (tag_id, domain, owner, shard, links)
             SELECT tag_id, domain, owner, pg_backend_pid() % 8, links
             FROM unnest($1::integer[], $2::text[], $3::text[], $4::bigint[]) AS given (tag_id, domain, owner, links)
             ON CONFLICT (tag_id, domain, owner, shard) DO UPDATE SET links = counts.links + excluded.links",
        )
        .bind(tags)
        .bind(domains)
        .bind(owners)
        .bind(changes)
        .execute(transaction)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

/// How many links there are with this tag, on this domain, of this owner; without one, with any.
pub(super) async fn total(
    connection: &mut PgConnection,
    tag: Option<i32>,
    domain: Option<&str>,
    owner: Option<&str>,
) -> Result<u64, StoreError> {
    let statement = "SELECT coalesce(sum(links), 0)::bigint FROM link_counts
         WHERE tag_id = $1 AND ($2::text IS NULL OR domain = $2) AND ($3::text IS NULL OR owner = $3)";
    let total: i64 = sqlx::query_scalar(statement)
        .bind(tag.unwrap_or(ALL))
        .bind(domain)
        .bind(owner)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Ok(u64::try_from(total).unwrap_or_default())
}
