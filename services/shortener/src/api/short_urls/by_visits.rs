//! Lists of links ordered by their visits, which the link store does not know: all links that match are counted in
//! ClickHouse and put in order here, so there is a limit to how many they may be.

use axum::response::Response;

use crate::api::Caller;
use crate::api::problem::Problem;
use crate::api::query::{ListRequest, VisitsOrder};
use crate::link::Page;
use crate::service::App;
use crate::statistics::{Answer, LinkCounts};

/// A page of the list that was asked for, with the counts that it was ordered by. Links with as many visits are ordered
/// by their ids, in the same direction.
pub(super) async fn page(
    app: &App,
    caller: &Caller,
    request: &ListRequest,
    order: VisitsOrder,
) -> Result<(Page, Answer<LinkCounts>), Response> {
    let hop = &caller.hop;
    let limit = app.config.statistics.ordered_links_max;
    // One more than may be ordered tells whether there are more.
    let found = app.links.list_names(hop, &request.query, limit.saturating_add(1)).await;
    let found = found.map_err(|error| Problem::store(hop, &error))?;
    if found.len() > limit as usize {
        let why = format!("orders at most {limit} short URLs by their visits: narrow the list down");
        return Err(Problem::invalid(&[("orderBy", why)]).answer(hop));
    }
    let counted = found.iter().map(|(_, link)| link.clone()).collect();
    let counts = app.statistics.of_links(counted).await;
    let counts = counts.map_err(|error| Problem::statistics(hop, &error))?;
    let total = found.len() as u64;
    let mut places: Vec<(u64, i64)> = found
        .into_iter()
        .map(|(id, link)| {
            (counts.value.get(&(link.domain, link.code)).map_or(0, |counts| order.of(counts)), id)
        })
        .collect();
    places.sort_unstable();
    if request.query.descending {
        places.reverse();
    }
    let skipped = usize::try_from(request.query.offset).unwrap_or(usize::MAX);
    let page = places.iter().skip(skipped).take(request.query.limit as usize);
    let ids: Vec<i64> = page.map(|(_, id)| *id).collect();
    let mut links = app.links.find_ids(hop, &ids).await.map_err(|error| Problem::store(hop, &error))?;
    links.sort_by_key(|link| ids.iter().position(|id| *id == link.id));
    Ok((Page { links, total: Some(total) }, counts))
}
