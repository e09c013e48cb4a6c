//! `PATCH /rest/v3/short-urls/{shortCode}`: what is named changes, `null` clears.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use super::document::document;
use super::{check_period, read_target, short_code, tell};
use crate::api::fields::{Fields, boolean, date, positive, tags, title};
use crate::api::problem::Problem;
use crate::api::{Caller, json};
use crate::link::{LinkEdit, LinkRef};
use crate::service::App;
use crate::store::Changed;

pub(in crate::api) async fn edit(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let code = match short_code(&app, hop, request.uri()) {
        Ok(code) => code,
        Err(problem) => return problem.answer(hop),
    };
    let object = match json::object(request, &app.config.limits).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let edit = match read_edit(&app, object) {
        Ok(edit) => edit,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.edit(hop, LinkRef::on_default(&code), &edit).await {
        Ok(Changed::Done(link)) => {
            tell(hop, &link);
            json::answer(StatusCode::OK, &document(&app, &link))
        }
        Ok(_) => Problem::short_url_not_found(&code, None).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

fn read_edit(app: &App, object: Map<String, Value>) -> Result<LinkEdit, Problem> {
    let mut fields = Fields::new(object);
    let edit = LinkEdit {
        target: read_target(app, &mut fields),
        title: fields.nullable("title", title).map(|title| title.filter(|title| !title.is_empty())),
        tags: fields
            .nullable("tags", |value| tags(value, app.config.links.tags_max))
            .map(Option::unwrap_or_default),
        valid_since: fields.nullable("validSince", date),
        valid_until: fields.nullable("validUntil", date),
        max_visits: fields.nullable("maxVisits", positive),
        crawlable: fields.optional("crawlable", boolean),
        forward_query: fields.optional("forwardQuery", boolean),
        ..LinkEdit::default()
    };
    check_period(&mut fields, edit.valid_since.flatten(), edit.valid_until.flatten());
    if fields.wrong.is_empty() { Ok(edit) } else { Err(Problem::invalid(&fields.wrong)) }
}
