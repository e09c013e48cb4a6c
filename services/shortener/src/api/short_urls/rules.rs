//! `/rest/v3/short-urls/{shortCode}/redirect-rules`: all rules of a link, read and replaced as one.
//! Their order is their priority; whether one holds for a visit is decided by `redirect`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use emitter::Hop;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::conditions;
use crate::api::names::{Found, LinkName, tell};
use crate::api::problem::Problem;
use crate::api::{Caller, etag, json, targets};
use crate::link::{Link, LinkEdit};
use crate::rule::{CONDITIONS_MAX, RULES_MAX, Rule};
use crate::service::App;
use crate::store::Changed;

pub(in crate::api) async fn show_rules(hop: Hop, Found(link): Found, headers: HeaderMap) -> Response {
    etag::answer_unless_known(&hop, &headers, &link, &document(&link))
}

pub(in crate::api) async fn set_rules(
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
    let rules = match read_rules(&app, name.link().domain, object.get("redirectRules")) {
        Ok(rules) => rules,
        Err(why) => return Problem::invalid(&[("redirectRules", why)]).answer(hop),
    };
    let if_state = match etag::wanted(&app, hop, &headers, &name, document).await {
        Ok(state) => state,
        Err(response) => return response,
    };
    let by = caller.key.map(|key| key.owner);
    let edit = LinkEdit { rules: Some(rules), by, if_state, ..LinkEdit::default() };
    match app.edit(hop, name.link(), edit).await {
        Ok(Changed::Done(link)) => {
            tell(hop, &link);
            etag::answer(StatusCode::OK, &link, &document(&link))
        }
        Ok(Changed::Conflict(link)) => etag::conflict(hop, &link, &document(&link)),
        Ok(Changed::NotFound) => name.not_found().answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

/// The rules of a link on `domain` that a client gives.
pub(in crate::api) fn read_rules(
    app: &App,
    domain: &str,
    rules: Option<&Value>,
) -> Result<Vec<Rule>, String> {
    let rules = match rules {
        Some(Value::Array(rules)) => rules,
        Some(_) => return Err("is not an array".to_owned()),
        None => return Err("is missing".to_owned()),
    };
    if rules.len() > RULES_MAX {
        return Err(format!("holds more than {RULES_MAX} rules"));
    }
    let numbered = rules.iter().enumerate();
    let read = |(at, rule)| read_one(app, domain, rule).map_err(|why| format!("rule {}: {why}", at + 1));
    numbered.map(read).collect()
}

fn read_one(app: &App, domain: &str, rule: &Value) -> Result<Rule, String> {
    let long_url = rule["longUrl"].as_str().ok_or("longUrl is no string")?;
    let target = targets::parse(app, domain, long_url).map_err(|error| format!("longUrl {error}"))?;
    let conditions = rule["conditions"].as_array().ok_or("conditions is no array")?;
    if conditions.is_empty() || conditions.len() > CONDITIONS_MAX {
        return Err(format!("has not 1 to {CONDITIONS_MAX} conditions"));
    }
    let numbered = conditions.iter().enumerate();
    let read =
        |(at, condition)| conditions::read(condition).map_err(|why| format!("condition {}: {why}", at + 1));
    let conditions = numbered.map(read).collect::<Result<_, String>>()?;
    Ok(Rule { target: target.as_str().to_owned(), conditions })
}

fn document(link: &Link) -> Value {
    json!({ "defaultLongUrl": link.target, "redirectRules": list_of(&link.rules) })
}

/// The rules of a link as clients see them.
pub(in crate::api) fn list_of(rules: &[Rule]) -> Vec<Value> {
    let rules = rules.iter().enumerate().map(|(at, rule)| {
        json!({
            "longUrl": rule.target,
            "priority": at + 1,
            "conditions": rule.conditions.iter().map(conditions::write).collect::<Vec<_>>(),
        })
    });
    rules.collect()
}
