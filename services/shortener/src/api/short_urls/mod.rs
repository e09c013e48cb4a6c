//! `/rest/v3/short-urls` and what is below it, with Shlink's payloads.
//! Here is what its endpoints share; each has a file of its own.

mod conditions;
mod create;
mod document;
mod edit;
mod history;
mod list;
mod rules;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

pub(super) use self::document::document;
use super::fields::Fields;
use super::names::{LinkName, tell};
use super::problem::Problem;
use super::visits::put_summaries;
use super::{Caller, etag};
use crate::link::UnixSeconds;
use crate::service::App;
use crate::store::Changed;

pub(super) use create::{create, read_creation, refused};
pub(super) use edit::edit;
pub(super) use history::history;
pub(super) use list::list;
pub(super) use rules::{set_rules, show_rules};

pub(super) async fn show(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let name = match LinkName::read(&app, hop, request.uri()) {
        Ok(name) => name,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.find(hop, name.link()).await {
        Ok(Some(link)) => {
            tell(hop, &link);
            let mut document = document(&app, &link);
            put_summaries(&app, std::slice::from_ref(&link), std::slice::from_mut(&mut document)).await;
            etag::answer_unless_known(request.headers(), &link, &document)
        }
        Ok(None) => name.not_found().answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

pub(super) async fn delete(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let name = match LinkName::read(&app, hop, request.uri()) {
        Ok(name) => name,
        Err(problem) => return problem.answer(hop),
    };
    let revision = match etag::revision(&app, hop, request.headers(), name.link()).await {
        Ok(revision) => revision,
        Err(response) => return response,
    };
    match app.delete(hop, name.link(), revision).await {
        Ok(Changed::Done(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Changed::Conflict(link)) => etag::conflict(&app, hop, &link),
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
