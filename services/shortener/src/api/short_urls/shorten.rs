//! `GET /rest/v3/short-urls/shorten`: a short URL by nothing but an address, as scripts and bookmarklets ask Shlink for it,
//! which has it deprecated. The key is in the query, here and nowhere else; nothing tells of queries.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Map, Value};

use super::create::{read_creation, refused};
use super::document::document;
use crate::api::names::tell;
use crate::api::visits::put_none;
use crate::api::{Caller, domains, json};
use crate::links::{CreateError, Made};
use crate::service::App;

pub(in crate::api) async fn shorten(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let hop = &caller.hop;
    let mut object = Map::new();
    if let Some(target) = parameter(&uri, "longUrl") {
        object.insert("longUrl".to_owned(), Value::String(target));
    }
    let mut request = match read_creation(&app, object, caller.key.map(|key| key.owner)) {
        Ok(request) => request,
        Err(problem) => return problem.answer(hop),
    };
    if let Err(problem) = domains::claim(&app, &caller.access, &domains::NewDomains::default(), &mut request)
    {
        return problem.answer(hop);
    }
    let made = match app.create(hop, vec![Some(request)], None).await {
        Ok(outcome) => outcome.all.into_iter().next(),
        Err(error) => return refused(hop, error),
    };
    // Without a slug there is none that is taken, and without a wish to find one only new ones are made.
    let Some(Made::New(link)) = made else { return refused(hop, CreateError::CodesTaken) };
    tell(hop, &link);
    if is_text(&headers, &uri) {
        return plain(app.short_url(link.name()));
    }
    let mut document = document(&app, &link);
    put_none(&app, &mut document);
    // Not 201: scripts expect what Shlink answers.
    json::answer(StatusCode::OK, &document)
}

/// The key in the query, where there is one and not several.
pub(in crate::api) fn key_in_query(uri: &Uri) -> Option<String> {
    let mut given = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter_map(|(name, value)| (name == "apiKey").then_some(value));
    let key = given.next().filter(|key| !key.is_empty())?;
    given.next().is_none().then(|| key.into_owned())
}

/// Whether the short URL alone is wanted: by `format`, or else by what is named first in `Accept`.
fn is_text(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(format) = parameter(uri, "format") {
        return format.eq_ignore_ascii_case("txt");
    }
    let accepted =
        headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    let first = accepted.split([',', ';']).next().unwrap_or_default();
    first.trim().eq_ignore_ascii_case("text/plain")
}

fn plain(text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, text).into_response()
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find_map(|(given, value)| (given == name).then(|| value.into_owned()))
}
