//! Visits that reach no link: the event says of what kind, and the domain may send them somewhere, unless that has come onto
//! a blocklist. The page for those that it sends nowhere is the caller's.

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use wide_event::Orphan;

use super::answer;
use super::visit::Visit;
use crate::target::host_of;

/// A redirect where the domain, or else the default one, has one for this kind; otherwise the page.
pub(super) fn answer(
    visit: Visit<'_>,
    kind: Orphan,
    error_type: &'static str,
    page: fn() -> Response,
) -> Response {
    let (domain, path) = (visit.domain(), visit.uri.path());
    if visit.follows() {
        visit.hop.domain(&domain);
        visit.hop.orphan(kind, path);
    }
    let sent = visit.app.domains.orphans_go(&domain, kind, visit.host, path).and_then(|url| {
        let location = HeaderValue::from_str(url.as_str()).ok()?;
        let is_refused = visit.app.blocklist.blocks(&host_of(&url)) || visit.leads_here(&location);
        (!is_refused).then(|| answer::bare(StatusCode::FOUND, location))
    });
    sent.unwrap_or_else(|| {
        visit.hop.error_type(error_type);
        page()
    })
}
