//! `GET /rest/v3/short-urls/{shortCode}/history`: every destination that a link has had, which Shlink does not keep.
//! Clicks say which version served them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::json;

use super::document::date_text;
use crate::api::names::{LinkName, tell};
use crate::api::problem::Problem;
use crate::api::{Caller, json};
use crate::service::App;

pub(in crate::api) async fn history(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let name = match LinkName::read(&app, hop, &uri) {
        Ok(name) => name,
        Err(problem) => return problem.answer(hop),
    };
    let link = match app.links.find(hop, name.link()).await {
        Ok(Some(link)) => link,
        Ok(None) => return name.not_found().answer(hop),
        Err(error) => return Problem::store(hop, &error),
    };
    tell(hop, &link);
    match app.links.history(hop, link.id).await {
        Ok(targets) => {
            let data = targets.iter().map(|past| {
                json!({ "version": past.version, "longUrl": past.target, "since": date_text(past.since) })
            });
            json::answer(StatusCode::OK, &json!({ "history": { "data": data.collect::<Vec<_>>() } }))
        }
        Err(error) => Problem::store(hop, &error),
    }
}
