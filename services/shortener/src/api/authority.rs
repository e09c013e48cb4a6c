//! Which need a route has, and whether a key has what it takes: asked before any handler runs, so that none can
//! forget. A route that is not named here is for keys that may do everything.
//! What a handler lists it narrows itself, by [`Access`].

use axum::response::Response;
use http::{Method, Uri};

use super::names::LinkName;
use super::problem::Problem;
use super::work::{self, SHORTEN};
use crate::access::{Access, Need, Refusal};
use crate::service::App;
use emitter::Hop;

const SHORT_URLS: &str = "/rest/v3/short-urls";

/// Many are created here; all else on this path is of the link that has this code.
const BULK: &str = "/rest/v3/short-urls/bulk";

/// Links in and out as CSV.
const CSV: &str = "/rest/v3/short-urls.csv";

/// What a key needs for a route.
fn need(route: &str, method: &Method) -> Need {
    let reads = work::reads(method, route);
    match route {
        SHORT_URLS | CSV if !reads => Need::Create,
        BULK if *method == Method::POST => Need::Create,
        SHORTEN if *method == Method::GET => Need::Create,
        BULK | SHORTEN => Need::One,
        SHORT_URLS | CSV | "/rest/v3/domains" | "/rest/v3/mercure-info" if reads => Need::Some,
        "/rest/v3/tags" | "/rest/v3/tags/stats" if reads => Need::Some,
        "/rest/v3/tags" => Need::Tags,
        "/rest/v3/visits/orphan" => Need::Orphans,
        // Of several links: of those in reach.
        "/rest/v3/visits" | "/rest/v3/visits/non-orphan" | "/rest/v3/stats" if reads => Need::Some,
        _ if reads && (route.starts_with("/rest/v3/tags/{") || route.starts_with("/rest/v3/domains/{")) => {
            Need::Some
        }
        _ if route.starts_with("/rest/v3/short-urls/{") => Need::One,
        _ => Need::All,
    }
}

/// Whether `access` goes as far as the request. A link out of its reach is as unknown as one that is not there.
pub(super) async fn check(
    app: &App,
    hop: &Hop,
    access: &Access,
    method: &Method,
    route: &str,
    uri: &Uri,
) -> Result<(), Response> {
    let need = need(route, method);
    access.may(need, work::reads(method, route)).map_err(|refusal| match refusal {
        Refusal::Role => Problem::forbidden().answer(hop),
        Refusal::Tags => Problem::forbidden_tags().answer(hop),
    })?;
    if need != Need::One || access.reaches_all() {
        return Ok(());
    }
    let name = LinkName::read(app, hop, uri).map_err(|problem| problem.answer(hop))?;
    match app.links.find(hop, name.link()).await {
        Ok(Some(link)) if access.reaches(&link) => Ok(()),
        Ok(_) => Err(name.not_found().answer(hop)),
        Err(error) => Err(Problem::store(hop, &error)),
    }
}
