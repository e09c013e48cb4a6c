//! `/rest/v3/tags` and `/rest/v3/tags/stats`: the tags that links have.
//! All of them are read at once and paged here: people make tags, and not by the million.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::fields::{Fields, tag, tag_name};
use super::problem::Problem;
use super::query::{VisitsOrder, is_array};
use super::visits::{TagCounts, TagsError, of_tags, put_tag_counts, put_tag_summaries};
use super::{Caller, json, numbers};
use crate::service::App;
use crate::statistics::Answer;
use crate::store::{Renamed, TagCount};

/// Tags deleted by one request at most, so that its transaction stays short.
const DELETE_MAX: usize = 100;

pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    answer(&app, &caller, &uri, Order::parse_stored, |asked, tags| {
        let names = || tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>();
        if asked.with_stats {
            json!({ "data": names(), "stats": tags.iter().map(stats_of).collect::<Vec<_>>() })
        } else {
            json!({ "data": names() })
        }
    })
    .await
}

pub(super) async fn stats(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let document =
        |_: &Asked, tags: &[TagCount]| json!({ "data": tags.iter().map(stats_of).collect::<Vec<_>>() });
    answer(&app, &caller, &uri, Order::parse, document).await
}

pub(super) async fn rename(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let object = match json::object(request, &app.config.limits).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let mut fields = Fields::new(object);
    let mut name = |field: &'static str| {
        let name = fields.optional(field, tag_name);
        if name.is_none() && !fields.is_wrong(field) {
            fields.refuse(field, "is missing");
        }
        name
    };
    let (old, new) = (name("oldName"), name("newName"));
    let (Some(old), Some(new)) = (old, new) else { return Problem::invalid(&fields.wrong).answer(hop) };
    match app.links.rename_tag(hop, &old, &new).await {
        Ok(Renamed::Done) => StatusCode::NO_CONTENT.into_response(),
        Ok(Renamed::NotFound) => Problem::tag_not_found(&old).answer(hop),
        Ok(Renamed::Conflict) => Problem::tag_conflict(&old, &new).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

pub(super) async fn delete(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let names: Vec<_> = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter_map(|(name, value)| is_array(&name, "tags").then(|| tag(&value)))
        .collect();
    if names.len() > DELETE_MAX {
        return Problem::invalid(&[("tags", format!("holds more than {DELETE_MAX} tags"))]).answer(hop);
    }
    match app.links.delete_tags(hop, &names).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => Problem::store(hop, &error),
    }
}

/// What is known of a tag, but for its visits.
fn stats_of(tag: &TagCount) -> Value {
    json!({ "tag": tag.name, "shortUrlsCount": tag.links })
}

async fn answer(
    app: &App,
    caller: &Caller,
    uri: &Uri,
    order: fn(&str) -> Result<Order, &'static str>,
    document: impl Fn(&Asked, &[TagCount]) -> Value,
) -> Response {
    let hop = &caller.hop;
    let asked = match Asked::parse(uri.query().unwrap_or_default(), order) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(hop),
    };
    let mut tags = match app.links.tags(hop, caller.access.own_only(), caller.access.domain()).await {
        Ok(tags) => tags,
        Err(error) => return Problem::store(hop, &error),
    };
    let counts = match asked.select(app, caller, &mut tags).await {
        Ok(counts) => counts,
        Err(response) => return response,
    };
    let total = tags.len();
    let per_page = asked.per_page.unwrap_or_else(|| total.max(1));
    let skipped = (asked.page - 1).saturating_mul(per_page).min(total);
    let page = &tags[skipped..skipped.saturating_add(per_page).min(total)];
    let mut list = document(&asked, page);
    let stats = if asked.with_stats { "stats" } else { "data" };
    // The data of a plain list are names, and those of the rest documents.
    if let Some(documents) = list[stats].as_array_mut().filter(|data| data.iter().all(Value::is_object)) {
        match &counts {
            Some(counts) => put_tag_counts(page, documents, counts),
            None => put_tag_summaries(app, caller, page, documents).await,
        }
    }
    list["pagination"] = json!({
        "currentPage": asked.page,
        "pagesCount": numbers::pages(total as u64, per_page as u64),
        "itemsPerPage": per_page,
        "itemsInCurrentPage": page.len(),
        "totalItems": total,
    });
    json::answer(StatusCode::OK, &json!({ "tags": list }))
}

/// What tags are ordered by. Equal ones are by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    Links,
    Visits(VisitsOrder),
}

impl Order {
    fn parse(field: &str) -> Result<Self, &'static str> {
        match field {
            "visits" => Ok(Self::Visits(VisitsOrder::All)),
            "nonBotVisits" => Ok(Self::Visits(VisitsOrder::NonBots)),
            _ => Self::parse_stored(field)
                .map_err(|_| "is not tag, shortUrlsCount, visits or nonBotVisits with -ASC or -DESC"),
        }
    }

    /// One that the link store knows.
    fn parse_stored(field: &str) -> Result<Self, &'static str> {
        match field {
            "tag" => Ok(Self::Name),
            "shortUrlsCount" => Ok(Self::Links),
            _ => Err("is not tag or shortUrlsCount with -ASC or -DESC"),
        }
    }
}

/// Which tags are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    page: usize,
    /// Without it, all on one page, as in Shlink.
    per_page: Option<usize>,
    search: Option<String>,
    order: Order,
    descending: bool,
    with_stats: bool,
}

impl Asked {
    /// Reads it; `order` says what may be ordered by.
    fn parse(
        query: &str,
        order: fn(&str) -> Result<Order, &'static str>,
    ) -> Result<Self, Vec<(&'static str, String)>> {
        let mut asked = Self {
            page: 1,
            per_page: None,
            search: None,
            order: Order::Name,
            descending: false,
            with_stats: false,
        };
        let mut wrong = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let mut refuse = |name: &'static str, why: &str| wrong.push((name, why.to_owned()));
            match &*name {
                "page" => match numbers::page(&value) {
                    Ok(page) => asked.page = usize::try_from(page).unwrap_or(usize::MAX),
                    Err(why) => refuse("page", why),
                },
                "itemsPerPage" => match numbers::items_per_page(&value) {
                    Ok(items) => asked.per_page = items.and_then(|items| usize::try_from(items).ok()),
                    Err(why) => refuse("itemsPerPage", why),
                },
                "searchTerm" => asked.search = Some(value.to_lowercase()).filter(|term| !term.is_empty()),
                "withStats" => match numbers::truth(&value) {
                    Ok(with) => asked.with_stats = with,
                    Err(why) => refuse("withStats", why),
                },
                "orderBy" => {
                    let (field, direction) = value.split_once('-').unwrap_or((&value, "ASC"));
                    asked.descending = direction == "DESC";
                    match order(field) {
                        Ok(order) if matches!(direction, "ASC" | "DESC") => asked.order = order,
                        Ok(_) => refuse("orderBy", "ends neither in -ASC nor in -DESC"),
                        Err(why) => refuse("orderBy", why),
                    }
                }
                _ => {}
            }
        }
        if wrong.is_empty() { Ok(asked) } else { Err(wrong) }
    }

    /// Leaves those that are wanted, in their order; with their visits, where these are what they are ordered by.
    async fn select(
        &self,
        app: &App,
        caller: &Caller,
        tags: &mut Vec<TagCount>,
    ) -> Result<Option<Answer<TagCounts>>, Response> {
        if let Some(term) = &self.search {
            tags.retain(|tag| tag.name.contains(term));
        }
        // They come by name, which settles ties.
        match (self.order, self.descending) {
            (Order::Name, false) => {}
            (Order::Name, true) => tags.reverse(),
            (Order::Links, false) => tags.sort_by_key(|tag| tag.links),
            (Order::Links, true) => tags.sort_by_key(|tag| Reverse(tag.links)),
            (Order::Visits(order), descending) => {
                let counts = counts(app, caller, tags).await?;
                let visits =
                    |tag: &TagCount| counts.value.get(&tag.name).map_or(0, |counts| order.of(counts));
                if descending {
                    tags.sort_by_key(|tag| Reverse(visits(tag)));
                } else {
                    tags.sort_by_key(visits);
                }
                return Ok(Some(counts));
            }
        }
        Ok(None)
    }
}

/// The visits of all of these tags, which the link store does not know: so there is a limit to how many links they are on.
async fn counts(app: &App, caller: &Caller, tags: &[TagCount]) -> Result<Answer<TagCounts>, Response> {
    let (hop, limit) = (&caller.hop, app.config.statistics.ordered_links_max);
    let names: Vec<String> = tags.iter().map(|tag| tag.name.clone()).collect();
    of_tags(app, caller, &names, limit).await.map_err(|error| match error {
        TagsError::TooMany => {
            let why = format!(
                "orders tags of at most {limit} short URLs by their visits, each counted for each of its tags: narrow \
                 the list down"
            );
            Problem::invalid(&[("orderBy", why)]).answer(hop)
        }
        TagsError::Store(error) => Problem::store(hop, &error),
        TagsError::Statistics(error) => Problem::statistics(hop, &error),
    })
}
