//! `/rest/v3/domains` and `/rest/v3/domains/redirects`: the domains that links live on, and where each sends visits
//! that name no link. Domains are not made here: a link makes its own.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::fields::{Fields, text};
use super::problem::Problem;
use super::{Caller, json, names, targets};
use crate::access::Access;
use crate::domain::{DEFAULT_DOMAIN, Domain, DomainRedirects, DomainRedirectsEdit};
use crate::links::CreateLink;
use crate::service::App;
use crate::target::Target;

pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let domains = match app.links.domains(&caller.hop).await {
        Ok(domains) => domains,
        Err(error) => return Problem::store(&caller.hop, &error),
    };
    // By name, and the empty one, which is the default, before all others.
    let known = |domain: &&Domain| caller.access.domain().is_none_or(|only| only == domain.authority);
    let data = domains.iter().filter(known).map(|domain| {
        let is_default = domain.authority == DEFAULT_DOMAIN;
        json!({
            "domain": if is_default { app.base_url.authority() } else { &domain.authority },
            "isDefault": is_default,
            "redirects": redirects(&domain.redirects),
        })
    });
    // Shlink's redirects by configuration, of which there are none here.
    let none = redirects(&DomainRedirects::default());
    let document = json!({ "domains": { "data": data.collect::<Vec<_>>(), "defaultRedirects": none } });
    json::answer(StatusCode::OK, &document)
}

pub(super) async fn set_redirects(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let object = match json::object(request, &app.config.limits).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let (named, domain, edit) = match read(&app, object) {
        Ok(read) => read,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.set_domain_redirects(hop, &domain, &edit).await {
        Ok(Some(Domain { redirects: set, .. })) => json::answer(StatusCode::OK, &redirects(&set)),
        Ok(None) => Problem::domain_not_found(&named).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

/// Domains that a call begins.
#[derive(Debug, Default)]
pub(super) struct NewDomains(HashSet<String>);

impl NewDomains {
    /// Takes in the domain of a link that will be made.
    pub(super) fn add(&mut self, app: &App, request: &CreateLink) {
        if !app.domains.knows(&request.domain) && !self.0.contains(&request.domain) {
            self.0.insert(request.domain.clone());
        }
    }
}

/// Makes a creation one of the key's, see [`Access::claim`], if it may go where it goes: not every key may begin a domain, and
/// there are only so many, with the `new` ones of the same call.
pub(super) fn claim(
    app: &App,
    access: &Access,
    new: &NewDomains,
    request: &mut CreateLink,
) -> Result<(), Problem> {
    let claimed = access.claim(request);
    claimed.map_err(|error| Problem::invalid(&[("longUrl", error.to_string())]))?;
    if app.domains.knows(&request.domain) || new.0.contains(&request.domain) {
        return Ok(());
    }
    if !access.may_begin(&request.domain) {
        app.domains.doubted();
        return Err(Problem::forbidden_domain(&request.domain));
    }
    let domains_max = app.config.links.domains_max;
    if app.domains.count() + new.0.len() >= domains_max {
        let why = format!("is a new domain, and there are {domains_max} already");
        return Err(Problem::invalid(&[("domain", why)]));
    }
    Ok(())
}

/// The domain as it was named and as it is stored, and what is to be set.
fn read(app: &App, object: Map<String, Value>) -> Result<(String, String, DomainRedirectsEdit), Problem> {
    let mut fields = Fields::new(object);
    let named = fields.optional("domain", text).unwrap_or_default();
    let domain = names::domain(app, &named).unwrap_or_else(|error| {
        fields.refuse("domain", error);
        DEFAULT_DOMAIN.to_owned()
    });
    if named.is_empty() && !fields.is_wrong("domain") {
        fields.refuse("domain", "is missing");
    }
    let mut redirect = |field: &'static str| -> Option<Option<Target>> {
        let Some(url) = fields.nullable(field, text)?.filter(|url| !url.is_empty()) else {
            return Some(None);
        };
        let target = targets::parse(app, &domain, &url).map_err(|error| fields.refuse(field, error));
        Some(target.ok())
    };
    let edit = DomainRedirectsEdit {
        base_url: redirect("baseUrlRedirect"),
        regular_404: redirect("regular404Redirect"),
        invalid_short_url: redirect("invalidShortUrlRedirect"),
    };
    if fields.wrong.is_empty() { Ok((named, domain, edit)) } else { Err(Problem::invalid(&fields.wrong)) }
}

fn redirects(redirects: &DomainRedirects) -> Value {
    json!({
        "baseUrlRedirect": redirects.base_url,
        "regular404Redirect": redirects.regular_404,
        "invalidShortUrlRedirect": redirects.invalid_short_url,
    })
}
