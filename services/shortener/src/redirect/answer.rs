//! The answer that redirects: its status, and how long a client may keep it.
//! Nothing here decides where it leads.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::cache::CachedLink;
use crate::config::RedirectConfig;
use crate::keys::now;
use crate::link::RedirectStatus;

/// A redirect must be asked for again: an edit, an end of validity and the click depend on it.
static NOT_CACHED: HeaderValue = HeaderValue::from_static("private, no-store");

/// The status that a link redirects with.
pub(super) fn status(config: &RedirectConfig, link: &CachedLink) -> RedirectStatus {
    link.redirect_status.unwrap_or(config.status)
}

/// A redirect of a link. `follows` says whether the visitor is on the way, and does not only look.
pub(super) fn redirect(
    config: &RedirectConfig,
    link: &CachedLink,
    location: HeaderValue,
    follows: bool,
) -> Response {
    let status = match status(config, link) {
        RedirectStatus::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        RedirectStatus::Found => StatusCode::FOUND,
        RedirectStatus::Temporary => StatusCode::TEMPORARY_REDIRECT,
        RedirectStatus::Permanent => StatusCode::PERMANENT_REDIRECT,
    };
    let mut response = bare(status, location);
    // What was fetched ahead is fetched again when it is followed: that is the click.
    let kept_s = if follows { kept_s(config, link) } else { 0 };
    if kept_s > 0
        && let Ok(kept) = HeaderValue::try_from(format!("private, max-age={kept_s}"))
    {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, kept);
        let depends = link.rules.depends;
        if depends.agent {
            headers.append(header::VARY, HeaderValue::from_static("User-Agent"));
        }
        if depends.language {
            headers.append(header::VARY, HeaderValue::from_static("Accept-Language"));
        }
    }
    response
}

/// A redirect that nobody keeps.
pub(super) fn bare(status: StatusCode, location: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, NOT_CACHED.clone());
    response
}

/// Seconds for which a client may keep the redirect: never past what could change it. Always for that client alone.
fn kept_s(config: &RedirectConfig, link: &CachedLink) -> i64 {
    let wanted = i64::from(link.cache_lifetime_s.unwrap_or(config.cache_lifetime_s));
    // Of a link with a limit each visit must be seen, and a client may move to another place without a word.
    if wanted == 0 || link.max_visits.is_some() || link.rules.depends.place {
        return 0;
    }
    if link.valid_until.is_none() && link.rules.is_empty() {
        return wanted;
    }
    let now = now();
    let ends = link.valid_until.into_iter().chain(link.rules.changes_at(now)).min();
    ends.map_or(wanted, |ends| wanted.min(ends.saturating_sub(now)))
}
