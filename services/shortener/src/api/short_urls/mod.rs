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

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use emitter::Hop;
use http::{HeaderMap, StatusCode};

pub(super) use self::document::{date_text, document};
use super::etag;
use super::fields::Fields;
use super::names::{Found, LinkName};
use super::problem::Problem;
use super::visits::put_summaries;
use crate::link::UnixSeconds;
use crate::service::App;
use crate::store::Changed;

pub(super) use create::{create, read_creation, refused};
pub(super) use edit::edit;
pub(super) use history::history;
pub(super) use list::{list, read_list};
pub(super) use rules::{list_of, read_rules, set_rules, show_rules};

pub(super) async fn show(
    State(app): State<Arc<App>>,
    hop: Hop,
    Found(link): Found,
    headers: HeaderMap,
) -> Response {
    let mut document = document(&app, &link);
    put_summaries(&app, std::slice::from_ref(&link), std::slice::from_mut(&mut document)).await;
    etag::answer_unless_known(&hop, &headers, &link, &document)
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    hop: Hop,
    name: LinkName,
    headers: HeaderMap,
) -> Response {
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
