//! A link as Shlink's clients read it.
//! Counts of visits are left out: they live with the exact clicks, and zeros would be a lie.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::api::names::other_domain;
use crate::link::{Link, UnixSeconds};
use crate::service::App;

pub(in crate::api) fn document(app: &App, link: &Link) -> Value {
    let settings = &link.settings;
    json!({
        "shortCode": link.code,
        "shortUrl": app.short_url(link.name()),
        "longUrl": link.target,
        "dateCreated": date_text(link.created_at),
        "tags": settings.tags,
        "meta": {
            "validSince": settings.valid_since.map(date_text),
            "validUntil": settings.valid_until.map(date_text),
            "maxVisits": settings.max_visits,
        },
        "domain": other_domain(&link.domain),
        "title": settings.title,
        "crawlable": settings.crawlable,
        "forwardQuery": settings.forward_query,
        "hasRedirectRules": !link.rules.is_empty(),
        "redirectStatus": settings.redirect_status,
        "cacheLifetime": settings.cache_lifetime_s,
    })
}

/// As PHP's ATOM format has it. Empty for what is no date, which no field lets in.
pub(in crate::api) fn date_text(seconds: UnixSeconds) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default()
}
