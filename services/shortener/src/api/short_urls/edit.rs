//! `PATCH /rest/v3/short-urls/{shortCode}`: what is named changes, `null` clears.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use emitter::Hop;
use http::StatusCode;
use serde_json::{Map, Value};

use super::check_period;
use super::document::document;
use crate::api::fields::{Fields, boolean, cache_lifetime, date, positive, redirect_status, tags, title};
use crate::api::names::{LinkName, tell};
use crate::api::problem::Problem;
use crate::api::visits::put_summaries;
use crate::api::{Caller, etag, json, statistics_scope, targets};
use crate::link::{LinkEdit, Visited};
use crate::service::App;
use crate::statistics::{Answer, Span, Visits};
use crate::store::Changed;

pub(in crate::api) async fn edit(
    State(app): State<Arc<App>>,
    caller: Caller,
    name: LinkName,
    request: Request,
) -> Response {
    let hop = &caller.hop;
    let headers = request.headers().clone();
    let object = match json::object(request, &app.config.limits).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let by = caller.key.map(|key| key.owner);
    let mut edit = match read_edit(&app, name.link().domain, object, by) {
        Ok(edit) => edit,
        Err(problem) => return problem.answer(hop),
    };
    edit.if_state = match etag::wanted(&app, hop, &headers, &name, |link| document(&app, link)).await {
        Ok(state) => state,
        Err(response) => return response,
    };
    edit.visits = match visits_so_far(&app, hop, &name, &edit).await {
        Ok(visits) => visits,
        Err(response) => return response,
    };
    match app.edit(hop, name.link(), edit).await {
        Ok(Changed::Done(link)) => {
            tell(hop, &link);
            let mut document = document(&app, &link);
            put_summaries(&app, std::slice::from_ref(&link), std::slice::from_mut(&mut document)).await;
            etag::answer(StatusCode::OK, &link, &document)
        }
        Ok(Changed::Conflict(link)) => etag::conflict(hop, &link, &document(&app, &link)),
        Ok(Changed::NotFound) => name.not_found().answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

/// Where a limit begins that the link did not have: its visits until now count, too. Were it to begin with fewer, because
/// they can't be counted now, more would be let through than it says.
async fn visits_so_far(
    app: &App,
    hop: &Hop,
    name: &LinkName,
    edit: &LinkEdit,
) -> Result<Option<Visited>, Response> {
    if edit.max_visits.flatten().is_none() || !app.statistics.is_there() {
        return Ok(None);
    }
    let link = app.links.find(hop, name.link()).await.map_err(|error| Problem::store(hop, &error))?;
    let Some(link) = link.filter(|link| edit.begins_limit(link)) else { return Ok(None) };
    let link_id = link.id;
    let scope = statistics_scope::of_link(link).scope;
    let visits = Visits { scope, span: Span::default(), exclude_bots: false };
    match app.statistics.counts(&visits).await.and_then(Answer::current) {
        Ok(counts) => {
            Ok(Some(Visited { link_id, visits: i64::try_from(counts.total()).unwrap_or(i64::MAX) }))
        }
        Err(error) => Err(Problem::statistics(hop, &error)),
    }
}

fn read_edit(
    app: &App,
    domain: &str,
    object: Map<String, Value>,
    by: Option<String>,
) -> Result<LinkEdit, Problem> {
    let mut fields = Fields::new(object);
    let edit = LinkEdit {
        target: targets::long_url(app, domain, &mut fields),
        title: fields.nullable("title", title).map(|title| title.filter(|title| !title.is_empty())),
        tags: fields
            .nullable("tags", |value| tags(value, app.config.links.tags_max))
            .map(Option::unwrap_or_default),
        valid_since: fields.nullable("validSince", date),
        valid_until: fields.nullable("validUntil", date),
        max_visits: fields.nullable("maxVisits", positive),
        crawlable: fields.optional("crawlable", boolean),
        forward_query: fields.optional("forwardQuery", boolean),
        redirect_status: fields.nullable("redirectStatus", redirect_status),
        cache_lifetime_s: fields.nullable("cacheLifetime", cache_lifetime),
        by,
        ..LinkEdit::default()
    };
    check_period(&mut fields, edit.valid_since.flatten(), edit.valid_until.flatten());
    if fields.wrong.is_empty() { Ok(edit) } else { Err(Problem::invalid(&fields.wrong)) }
}
