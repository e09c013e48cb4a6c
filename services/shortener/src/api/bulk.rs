//! `POST /rest/v3/short-urls/bulk`: up to a thousand short URLs in one transaction, with a result for each, which says
//! what a single creation would have said.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::domains::NewDomains;
use super::names::other_domain;
use super::problem::Problem;
use super::short_urls::{document, read_creation, refused};
use super::{Caller, domains, idempotency, json};
use crate::links::{CreateLink, Made};
use crate::service::App;
use emitter::Hop;

/// Short URLs in a call at most: a transaction of tens of milliseconds. More take more calls.
pub(super) const ITEMS_MAX: usize = 1_000;

pub(super) async fn create(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let headers = request.headers().clone();
    let limits = &app.config.limits;
    let object = match json::object_within(request, limits, app.config.api.bulk_body_bytes_max).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let once = match idempotency::once(&headers, caller.key.as_ref(), "bulk", &object) {
        Ok(once) => once,
        Err(problem) => return problem.answer(hop),
    };
    let items = match read_items(object.get("shortUrls")) {
        Ok(items) => items,
        Err(why) => return Problem::invalid(&[("shortUrls", why)]).answer(hop),
    };
    let owner = caller.key.map(|key| key.owner);
    let mut new = NewDomains::default();
    let read = |item: &Value| -> Result<CreateLink, Problem> {
        let mut request = read_item(&app, item, owner.clone())?;
        domains::claim(&app, &caller.access, &new, &mut request)?;
        new.add(&app, &request);
        Ok(request)
    };
    let read: Vec<_> = items.iter().map(read).collect();
    // Those that can be made go together, the others keep their places.
    let requests = read.iter().map(|item| item.as_ref().ok().cloned()).collect();
    let outcome = match app.create(hop, requests, once).await {
        Ok(outcome) => outcome,
        Err(error) => return refused(hop, error),
    };
    let results = results(&app, hop, &read, outcome.all).await;
    let answer = json::answer(StatusCode::OK, &json!({ "results": results }));
    idempotency::mark(answer, outcome.replayed)
}

fn read_items(items: Option<&Value>) -> Result<&[Value], String> {
    match items {
        Some(Value::Array(items)) if items.is_empty() => Err("is empty".to_owned()),
        Some(Value::Array(items)) if items.len() > ITEMS_MAX => {
            Err(format!("has more than {ITEMS_MAX} items"))
        }
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err("is not an array".to_owned()),
        None => Err("is missing".to_owned()),
    }
}

fn read_item(app: &App, item: &Value, owner: Option<String>) -> Result<CreateLink, Problem> {
    match item {
        Value::Object(fields) => read_creation(app, fields.clone(), owner),
        _ => Err(Problem::invalid(&[("shortUrls", "holds what is not an object".to_owned())])),
    }
}

async fn results(app: &App, hop: &Hop, items: &[Result<CreateLink, Problem>], all: Vec<Made>) -> Vec<Value> {
    let taken = items.iter().zip(&all).filter(|(_, made)| **made == Made::Taken);
    let asked: Vec<_> = taken.filter_map(|(item, _)| item.as_ref().ok()).collect();
    let free = app.links.suggestions(hop, &asked, app.config.links.slug_bytes_max).await;
    let mut free = free.into_iter();
    let result = |(item, made): (&Result<CreateLink, Problem>, Made)| match (made, item) {
        (Made::New(link), _) => json!({ "status": 201, "shortUrl": document(app, &link) }),
        (Made::Found(link), _) => json!({ "status": 200, "shortUrl": document(app, &link) }),
        (Made::Gone, _) => problem_result(&Problem::deleted_since()),
        (Made::Taken | Made::Refused, Err(problem)) => problem_result(problem),
        (Made::Refused, Ok(_)) => problem_result(&Problem::invalid_before()),
        (Made::Taken, Ok(request)) => {
            let (slug, free) = (request.slug(), free.next().unwrap_or_default());
            problem_result(&Problem::slug_taken(slug, other_domain(&request.domain), &free))
        }
    };
    items.iter().zip(all).map(result).collect()
}

fn problem_result(problem: &Problem) -> Value {
    json!({ "status": problem.status().as_u16(), "problem": problem.document() })
}
