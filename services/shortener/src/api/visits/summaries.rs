//! `visitsSummary` in the documents of short URLs and tags: one question for all of them.
//! Where there is no answer, not even an old one, it is left out: zeros would be a lie.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::document::{put_marks, summary};
use crate::api::Caller;
use crate::link::{Link, UnixSeconds};
use crate::service::App;
use crate::statistics::{Answer, Counts, LinkCounts};
use crate::store::{Counted, Selection, TagCount};

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
    let mut of = Selection::default();
    if !caller.access.narrow_selection(&mut of) {
        return;
    }
    let links_max = u64::from(app.config.statistics.links_max);
    let few = tags.iter().scan(0_u64, |links, tag| {
        *links += tag.links;
        (*links <= links_max).then(|| tag.name.clone())
    });
    let few: Vec<String> = few.collect();
    let asked = app.links.tagged(&caller.hop, &of, &few, app.config.statistics.links_max + 1);
    let Ok(pairs) = asked.await else { return };
    if pairs.len() as u64 > links_max {
        // Links have got these tags since they were counted: what is cut would be too low.
        return;
    }
    let all: HashSet<Counted> = pairs.iter().map(|(_, link)| link.clone()).collect();
    let Ok(answer) = app.statistics.of_links(all.into_iter().collect()).await else { return };
    let mut sums: HashMap<String, Counts> = HashMap::new();
    for (tag, link) in pairs {
        if let Some(counts) = answer.value.get(&(link.domain, link.code)) {
            sums.entry(tag).or_default().add(*counts);
        }
    }
    for (tag, document) in few.iter().zip(documents) {
        put(document, sums.get(tag).copied().unwrap_or_default(), answer.stale_since);
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
