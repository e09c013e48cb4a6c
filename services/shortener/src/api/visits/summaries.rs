//! `visitsSummary` in the documents of short URLs and tags: one question for all of them.
//! Where there is no answer, not even an old one, it is left out: zeros would be a lie.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::document::{put_marks, summary};
use crate::api::Caller;
use crate::link::{Link, UnixSeconds};
use crate::service::App;
use crate::statistics::{Answer, Counts, LinkCounts, StatisticsError};
use crate::store::{Counted, Selection, StoreError, TagCount};

/// Puts the counts of links into their documents, which are in the same order.
pub(in crate::api) async fn put_summaries(app: &App, links: &[Link], documents: &mut [Value]) {
    if let Ok(answer) = app.statistics.of_links(counted(links)).await {
        put_counts(links, documents, &answer);
    }
}

/// Puts counts that are known into the documents of links, which are in the same order.
pub(in crate::api) fn put_counts(links: &[Link], documents: &mut [Value], answer: &Answer<LinkCounts>) {
    for (link, document) in links.iter().zip(documents) {
        let name = (link.domain.clone(), link.code.clone());
        put(document, answer.value.get(&name).copied().unwrap_or_default(), answer.stale_since);
    }
}

/// How often each link was visited, in their order; nothing where that is not known.
pub(in crate::api) async fn totals(app: &App, links: &[Link]) -> Vec<Option<u64>> {
    let Ok(answer) = app.statistics.of_links(counted(links)).await else { return vec![None; links.len()] };
    let total = |link: &Link| {
        let counts = answer.value.get(&(link.domain.clone(), link.code.clone()));
        Some(counts.copied().unwrap_or_default().total())
    };
    links.iter().map(total).collect()
}

/// A link that was just made has no visits: nobody has to be asked.
pub(in crate::api) fn put_none(app: &App, document: &mut Value) {
    if app.statistics.is_there() {
        put(document, Counts::default(), None);
    }
}

/// Counts of tags by their names.
pub(in crate::api) type TagCounts = HashMap<String, Counts>;

/// Why tags were not counted.
pub(in crate::api) enum TagsError {
    /// They are on more links than may be counted.
    TooMany,
    Store(StoreError),
    Statistics(StatisticsError),
}

/// How often the links of each tag in reach were visited: of so many at most, each of which is one for each of its tags.
pub(in crate::api) async fn of_tags(
    app: &App,
    caller: &Caller,
    tags: &[String],
    links_max: u32,
) -> Result<Answer<TagCounts>, TagsError> {
    let mut of = Selection::default();
    if !caller.access.narrow_selection(&mut of) {
        return Ok(Answer::default());
    }
    // One more than may be counted tells whether there are more.
    let pairs = app.links.tagged(&caller.hop, &of, tags, links_max.saturating_add(1)).await;
    let pairs = pairs.map_err(TagsError::Store)?;
    if pairs.len() > links_max as usize {
        return Err(TagsError::TooMany);
    }
    let all: HashSet<Counted> = pairs.iter().map(|(_, link)| link.clone()).collect();
    let answer = app.statistics.of_links(all.into_iter().collect()).await.map_err(TagsError::Statistics)?;
    Ok(answer.map(|counts| {
        let mut sums = TagCounts::new();
        for (tag, link) in pairs {
            if let Some(counts) = counts.get(&(link.domain, link.code)) {
                sums.entry(tag).or_default().add(*counts);
            }
        }
        sums
    }))
}

/// Puts the counts of tags into their documents, which are in the same order: of as many of them as have together no
/// more links than one question may be about. The others have none.
pub(in crate::api) async fn put_tag_summaries(
    app: &App,
    caller: &Caller,
    tags: &[TagCount],
    documents: &mut [Value],
) {
    if !app.statistics.is_there() {
        return;
    }
    let links_max = app.config.statistics.links_max;
    let few = tags.iter().scan(0_u64, |links, tag| {
        *links += tag.links;
        (*links <= u64::from(links_max)).then(|| tag.name.clone())
    });
    let few: Vec<String> = few.collect();
    // Links may have got these tags since they were counted: what is cut would be too low.
    if let Ok(answer) = of_tags(app, caller, &few, links_max).await {
        put_tag_counts(&tags[..few.len()], documents, &answer);
    }
}

/// Puts counts that are known into the documents of tags, which are in the same order.
pub(in crate::api) fn put_tag_counts(tags: &[TagCount], documents: &mut [Value], answer: &Answer<TagCounts>) {
    for (tag, document) in tags.iter().zip(documents) {
        put(document, answer.value.get(&tag.name).copied().unwrap_or_default(), answer.stale_since);
    }
}

fn counted(links: &[Link]) -> Arc<[Counted]> {
    let counted = |link: &Link| Counted {
        domain: link.domain.clone(),
        code: link.code.clone(),
        from: link.counts_from(),
    };
    links.iter().map(counted).collect()
}

fn put(document: &mut Value, counts: Counts, stale: Option<UnixSeconds>) {
    let mut summary = summary(counts);
    if stale.is_some()
        && let Value::Object(summary) = &mut summary
    {
        put_marks(summary, None, stale);
    }
    document["visitsSummary"] = summary;
}
