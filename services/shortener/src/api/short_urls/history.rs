//! `GET /rest/v3/short-urls/{shortCode}/history`: where a link has led, which Shlink does not keep; the newest version first.
//! Clicks say which version served them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use emitter::Hop;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::document::date_text;
use super::rules::list_of;
use crate::api::names::Found;
use crate::api::problem::Problem;
use crate::api::{json, numbers};
use crate::link::LinkVersion;
use crate::service::App;

/// Versions on a page at most, and where the request does not say: each may have twenty rules.
const ITEMS_MAX: u32 = 100;

/// What is wrong with a request, by parameter.
type Wrong = Vec<(&'static str, String)>;

pub(in crate::api) async fn history(
    State(app): State<Arc<App>>,
    hop: Hop,
    Found(link): Found,
    uri: Uri,
) -> Response {
    let (below, limit) = match parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(&hop),
    };
    let versions = match app.links.history(&hop, link.id, below, limit).await {
        Ok(versions) => versions,
        Err(error) => return Problem::store(&hop, &error),
    };
    // The first version is the last there is.
    let next = versions.last().map(|last| last.version).filter(|last| *last > 1);
    let next = next.filter(|_| versions.len() as u64 == u64::from(limit)).map(|last| last.to_string());
    let history = json!({
        "data": versions.iter().map(document).collect::<Vec<_>>(),
        "pagination": { "itemsPerPage": limit, "itemsInCurrentPage": versions.len(), "nextCursor": next },
    });
    json::answer(StatusCode::OK, &json!({ "history": history }))
}

fn document(version: &LinkVersion) -> Value {
    json!({
        "version": version.version,
        "longUrl": version.target,
        "redirectRules": version.rules.as_deref().map(list_of),
        "since": date_text(version.since),
    })
}

/// The version that the page before ended with, if there was one, and how many to give.
fn parse(query: Option<&str>) -> Result<(Option<u32>, u32), Wrong> {
    let (mut below, mut limit, mut wrong) = (None, ITEMS_MAX, Vec::new());
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "cursor" if !value.is_empty() => match value.parse() {
                Ok(version) => below = Some(version),
                Err(_) => wrong.push(("cursor", "is no cursor of this list".to_owned())),
            },
            "itemsPerPage" => match numbers::items_per_page(&value) {
                Ok(items) => limit = numbers::items_at_most(items, ITEMS_MAX),
                Err(why) => wrong.push(("itemsPerPage", why.to_owned())),
            },
            _ => {}
        }
    }
    if wrong.is_empty() { Ok((below, limit)) } else { Err(wrong) }
}
