//! `/rest/v3/short-urls` and what is below it, with Shlink's payloads.
//! Here is what its endpoints share; each has a file of its own.

mod by_visits;
mod conditions;
mod create;
mod document;
mod edit;
mod history;
mod list;
mod rules;
mod shorten;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use emitter::Hop;
use http::{HeaderMap, StatusCode};

pub(super) use self::document::{date_text, document};
use super::fields::Fields;
use super::names::{Found, LinkName};
use super::problem::Problem;
use super::visits::put_summaries;
use super::{ALLOW_COLLECTION, allow, bulk, etag, read_only, refused_method, work};
use crate::link::UnixSeconds;
use crate::service::App;
use crate::store::Changed;

use create::create;
pub(super) use create::{read_creation, refused};
use edit::edit;
use history::history;
use list::list;
pub(super) use list::read_list;
pub(super) use rules::{list_of, read_rules};
use rules::{set_rules, show_rules};
pub(super) use shorten::key_in_query;
use shorten::shorten;

/// Methods of each path, for `Allow`.
const ALLOW_BULK: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";
const ALLOW_SHORTEN: &str = "GET, PATCH, DELETE, OPTIONS";
const ALLOW_ITEM: &str = "GET, HEAD, PATCH, DELETE, OPTIONS";
const ALLOW_RULES: &str = "GET, HEAD, POST, PATCH, OPTIONS";

/// Shlink's routes of short URLs, with ours.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/rest/v3/short-urls",
            get(list)
                .post(create)
                .options(|| async { allow(ALLOW_COLLECTION) })
                .fallback(async |hop: Hop| refused_method(&hop, ALLOW_COLLECTION)),
        )
        .route(
            // A link may have this code too: only creation is another thing here.
            "/rest/v3/short-urls/bulk",
            get(show)
                .patch(edit)
                .delete(delete)
                .post(bulk::create)
                .options(|| async { allow(ALLOW_BULK) })
                .fallback(async |hop: Hop| refused_method(&hop, ALLOW_BULK)),
        )
        .route(
            // As above. HEAD would make a link that nobody gets to know.
            work::SHORTEN,
            get(shorten)
                .head(async |hop: Hop| refused_method(&hop, ALLOW_SHORTEN))
                .patch(edit)
                .delete(delete)
                .options(|| async { allow(ALLOW_SHORTEN) })
                .fallback(async |hop: Hop| refused_method(&hop, ALLOW_SHORTEN)),
        )
        .route(
            "/rest/v3/short-urls/{short_code}",
            get(show)
                .patch(edit)
                .delete(delete)
                .options(|| async { allow(ALLOW_ITEM) })
                .fallback(async |hop: Hop| refused_method(&hop, ALLOW_ITEM)),
        )
        .route(
            "/rest/v3/short-urls/{short_code}/redirect-rules",
            get(show_rules)
                .post(set_rules)
                .patch(set_rules)
                .options(|| async { allow(ALLOW_RULES) })
                .fallback(async |hop: Hop| refused_method(&hop, ALLOW_RULES)),
        )
        .route("/rest/v3/short-urls/{short_code}/history", read_only(get(history)))
}

async fn show(State(app): State<Arc<App>>, hop: Hop, Found(link): Found, headers: HeaderMap) -> Response {
    let mut document = document(&app, &link);
    put_summaries(&app, std::slice::from_ref(&link), std::slice::from_mut(&mut document)).await;
    etag::answer_unless_known(&hop, &headers, &link, &document)
}

async fn delete(State(app): State<Arc<App>>, hop: Hop, name: LinkName, headers: HeaderMap) -> Response {
    let hop = &hop;
    let state = match etag::wanted(&app, hop, &headers, &name, |link| document(&app, link)).await {
        Ok(state) => state,
        Err(response) => return response,
    };
    match app.delete(hop, name.link(), state).await {
        Ok(Changed::Done(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Changed::Conflict(link)) => etag::conflict(hop, &link, &document(&app, &link)),
        Ok(Changed::NotFound) => name.not_found().answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

fn check_period(fields: &mut Fields, since: Option<UnixSeconds>, until: Option<UnixSeconds>) {
    if let (Some(since), Some(until)) = (since, until)
        && until <= since
    {
        fields.refuse("validUntil", "is not after validSince");
    }
}
