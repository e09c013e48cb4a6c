//! Visits as Shlink's clients read them, and what is said of every answer that counts.
//!
//! Less is kept of a visit than Shlink keeps: of the referrer its host (shown as an `https` URL), of the user agent the
//! families of browser and system (shown as `Firefox, Linux`), of the place the country.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::api::countries::country_name;
use crate::link::UnixSeconds;
use crate::service::App;
use crate::statistics::{Counts, SingleVisit};

/// A visit of a link.
pub(super) fn visit(app: &App, visit: &SingleVisit) -> Value {
    json!({
        "referer": if visit.referrer_host.is_empty() { String::new() } else { format!("https://{}", visit.referrer_host) },
        "date": date_text(UnixSeconds::from(visit.ts)),
        "userAgent": user_agent(visit),
        "visitLocation": location(&visit.country),
        "potentialBot": visit.bot,
        "visitedUrl": url(app, &visit.domain, &visit.asked),
    })
}

/// Where a link led visits, by version and the place of the rule that chose, 0 where none did; and since when that is known.
pub(super) type Targets = HashMap<(u32, u8), (String, UnixSeconds)>;

/// A visit of one link, with where it was led; `null` where that is not known.
pub(super) fn visit_of(app: &App, targets: &Targets, one: &SingleVisit) -> Value {
    let mut document = visit(app, one);
    let target =
        targets.get(&(one.version, one.rule)).filter(|(_, since)| UnixSeconds::from(one.ts) >= *since);
    document["redirectUrl"] = target.map(|(target, _)| target.as_str()).into();
    document
}

/// A visit that reached no link.
pub(super) fn orphan_visit(app: &App, orphan: &SingleVisit) -> Value {
    let mut document = visit(app, orphan);
    document["type"] = orphan.kind.as_str().into();
    document
}

/// Shlink's summary.
pub(in crate::api) fn summary(counts: Counts) -> Value {
    json!({ "total": counts.total(), "nonBots": counts.non_bots, "bots": counts.bots })
}

/// What is said of counts: up to when they are final, and whether, and since when, they are old ones.
pub(in crate::api) fn put_marks(
    into: &mut Map<String, Value>,
    through: Option<UnixSeconds>,
    stale: Option<UnixSeconds>,
) {
    // What was read before says nothing of what is final by now.
    let through = through.filter(|_| stale.is_none());
    into.insert("completeThrough".to_owned(), through.map(date_text).into());
    into.insert("stale".to_owned(), stale.is_some().into());
    if let Some(since) = stale {
        into.insert("staleSince".to_owned(), date_text(since).into());
    }
}

/// As PHP's ATOM format has it.
fn date_text(seconds: UnixSeconds) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default()
}

fn user_agent(visit: &SingleVisit) -> String {
    let known: Vec<_> = [&visit.browser, &visit.os].into_iter().filter(|name| !name.is_empty()).collect();
    known.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn location(country: &str) -> Value {
    if country.is_empty() {
        return Value::Null;
    }
    json!({
        "countryCode": country,
        "countryName": country_name(country).unwrap_or(country),
        "regionName": "",
        "cityName": "",
        "latitude": null,
        "longitude": null,
        "timezone": "",
        "isEmpty": false,
    })
}

/// What was asked for, as a URL of this service.
fn url(app: &App, domain: &str, path: &str) -> String {
    let mut url = app.base_url.clone();
    if !domain.is_empty() {
        let (host, port) =
            domain.rsplit_once(':').map_or((domain, None), |(host, port)| (host, port.parse().ok()));
        // Only names that were accepted as domains are in the tables; one that no longer is one stays out of the URL.
        if url.set_host(Some(host)).is_ok() {
            let _ = url.set_port(port);
        }
    }
    url.set_path(path);
    url.into()
}
