//! `GET /rest/v3/short-urls/{shortCode}/history`: every destination that a link has had, which Shlink does not keep.
//! Clicks say which version served them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use emitter::Hop;
use http::StatusCode;
use serde_json::json;

use super::document::date_text;
use crate::api::json;
use crate::api::names::Found;
use crate::api::problem::Problem;
use crate::service::App;

pub(in crate::api) async fn history(State(app): State<Arc<App>>, hop: Hop, Found(link): Found) -> Response {
    match app.links.history(&hop, link.id).await {
        Ok(targets) => {
            let data = targets.iter().map(|past| {
                json!({ "version": past.version, "longUrl": past.target, "since": date_text(past.since) })
            });
            json::answer(StatusCode::OK, &json!({ "history": { "data": data.collect::<Vec<_>>() } }))
        }
        Err(error) => Problem::store(&hop, &error),
    }
}
