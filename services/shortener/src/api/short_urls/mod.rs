//! `/rest/v3/short-urls` and `/rest/v3/short-urls/{shortCode}`, with Shlink's payloads.
//! Here is what its endpoints share; each has a file of its own.

mod create;
mod document;
mod edit;
mod list;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;

use self::document::document;
use super::fields::{Fields, text};
use super::problem::Problem;
use super::{Caller, json};
use crate::codes;
use crate::link::{Link, LinkRef, UnixSeconds};
use crate::service::App;
use crate::store::Changed;
use crate::target::{self, Target};
use emitter::Hop;

pub(super) use create::create;
pub(super) use edit::edit;
pub(super) use list::list;

pub(super) async fn show(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let code = match short_code(&app, hop, &uri) {
        Ok(code) => code,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.find(hop, LinkRef::on_default(&code)).await {
        Ok(Some(link)) => {
            tell(hop, &link);
            json::answer(StatusCode::OK, &document(&app, &link))
        }
        Ok(None) => Problem::short_url_not_found(&code, None).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

pub(super) async fn delete(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let code = match short_code(&app, hop, &uri) {
        Ok(code) => code,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.delete(hop, LinkRef::on_default(&code), None).await {
        Ok(Changed::Done(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => Problem::short_url_not_found(&code, None).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

/// The alias that a path names.
fn short_code(app: &App, hop: &Hop, uri: &Uri) -> Result<String, Problem> {
    let raw = uri.path().rsplit('/').next().unwrap_or_default();
    let code = percent_decode_str(raw).decode_utf8_lossy();
    let domain = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find_map(|(name, value)| (name == "domain").then_some(value));
    if let Some(domain) = domain.filter(|domain| !is_default_domain(app, domain)) {
        return Err(Problem::short_url_not_found(&code, Some(&domain)));
    }
    if !codes::is_possible(&code, app.config.links.slug_bytes_max) {
        return Err(Problem::short_url_not_found(&code, None));
    }
    hop.code(&code);
    Ok(code.into_owned())
}

fn read_target(app: &App, fields: &mut Fields) -> Option<Target> {
    let long_url = fields.optional("longUrl", text)?;
    match target::parse(&long_url, app.config.links.url_bytes_max, &app.own_hosts) {
        Ok(target) => Some(target),
        Err(error) => {
            fields.refuse("longUrl", error);
            None
        }
    }
}

fn check_period(fields: &mut Fields, since: Option<UnixSeconds>, until: Option<UnixSeconds>) {
    if let (Some(since), Some(until)) = (since, until)
        && until <= since
    {
        fields.refuse("validUntil", "is not after validSince");
    }
}

/// Empty and `DEFAULT` are Shlink's names for it.
fn is_default_domain(app: &App, domain: &str) -> bool {
    domain.is_empty() || domain == "DEFAULT" || domain.eq_ignore_ascii_case(authority(app))
}

fn authority(app: &App) -> &str {
    app.base_url.authority()
}

fn tell(hop: &Hop, link: &Link) {
    hop.code(&link.code);
    let target = url::Url::parse(&link.target).ok();
    let target_host = target.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    hop.link(link.id.cast_unsigned(), link.version);
    hop.target_host(target_host);
}
