//! `visitsSummary` in the documents of short URLs and tags: one question for all of them.
//! Where there is no answer, not even an old one, it is left out: zeros would be a lie.

use std::collections::HashSet;

use serde_json::Value;

use super::document::{put_marks, summary};
use crate::api::Caller;
use crate::link::{Link, UnixSeconds};
use crate::service::App;
use crate::statistics::Counts;
use crate::store::{Counted, Selection, TagCount};

/// Puts the counts of links into their documents, which are in the same order.
pub(in crate::api) async fn put_summaries(app: &App, links: &[Link], documents: &mut [Value]) {
    let counted = links.iter().map(|link| Counted {
        domain: link.domain.clone(),
        code: link.code.clone(),
        from: link.counts_from(),
    });
    let Ok(answer) = app.statistics.of_links(counted.collect()).await else { return };
    for (link, document) in links.iter().zip(documents) {
        let name = (link.domain.clone(), link.code.clone());
        put(document, answer.value.get(&name).copied().unwrap_or_default(), answer.stale_since);
    }
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
    let mut left = app.config.statistics.links_max;
    let mut links_of = Vec::new();
    for tag in tags {
        let mut of = Selection { tag: Some(tag.name.clone()), ..Selection::default() };
        if !caller.access.narrow_selection(&mut of) {
            return;
        }
        let Some(rest) = u32::try_from(tag.links).ok().and_then(|links| left.checked_sub(links)) else {
            break;
        };
        // A link that has got the tag since it was counted is not among them.
        let limit = left - rest;
        let Ok(links) = app.links.names(&caller.hop, &of, limit).await else { return };
        left = rest;
        links_of.push(links);
    }
    let all: HashSet<Counted> = links_of.iter().flatten().cloned().collect();
    let Ok(answer) = app.statistics.of_links(all.into_iter().collect()).await else { return };
    for (links, document) in links_of.into_iter().zip(documents) {
        let counts = links.into_iter().filter_map(|link| answer.value.get(&(link.domain, link.code)));
        let sum = |sum: Counts, more: &Counts| Counts {
            non_bots: sum.non_bots + more.non_bots,
            bots: sum.bots + more.bots,
        };
        put(document, counts.fold(Counts::default(), sum), answer.stale_since);
    }
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
