//! `…/stats`: counts by time and by where visits came from, which Shlink leaves to its clients to add up.
//! How they are counted is not known here: see [`crate::statistics`].

mod query;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use self::query::Asked;
use super::names::Found;
use super::problem::Problem;
use super::statistics_scope::Named;
use super::visits::{put_marks, summary};
use super::{Caller, json, read_only, statistics_scope};
use crate::api::countries::country_name;
use crate::link::UnixSeconds;
use crate::service::App;
use crate::statistics::{Answer, Counts, Dimension, Interval, Series, StatisticsError, Tally, Visits};

/// Our routes beside those of Shlink.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/rest/v3/stats", read_only(get(of_all)))
        .route("/rest/v3/short-urls/{short_code}/stats", read_only(get(of_link)))
        .route("/rest/v3/tags/{tag}/stats", read_only(get(of_tag)))
        .route("/rest/v3/domains/{domain}/stats", read_only(get(of_domain)))
}

async fn of_all(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(&caller.hop),
    };
    match statistics_scope::of_all(&app, &caller.hop, &caller.access).await {
        Ok(named) => answer(&app, &caller, &asked, named).await,
        Err(response) => response,
    }
}

async fn of_link(State(app): State<Arc<App>>, caller: Caller, Found(link): Found, uri: Uri) -> Response {
    match query::parse(uri.query()) {
        Ok(asked) => answer(&app, &caller, &asked, statistics_scope::of_link(link)).await,
        Err(wrong) => Problem::invalid(&wrong).answer(&caller.hop),
    }
}

async fn of_tag(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(&caller.hop),
    };
    match statistics_scope::of_tag(&app, &caller.hop, &caller.access, &uri).await {
        Ok(named) => answer(&app, &caller, &asked, named).await,
        Err(response) => response,
    }
}

async fn of_domain(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(&caller.hop),
    };
    match statistics_scope::of_domain(&app, &caller.hop, &caller.access, &uri).await {
        Ok(named) => answer(&app, &caller, &asked, named).await,
        Err(response) => response,
    }
}

/// All that is known of some visits.
struct Known {
    counts: Counts,
    series: Series,
    tallies: Vec<Tally>,
    visitors: Option<u64>,
}

async fn answer(app: &App, caller: &Caller, asked: &Asked, named: Named) -> Response {
    let visits = Visits { scope: named.scope, span: asked.span, exclude_bots: asked.exclude_bots };
    // First up to when it holds, then what is there: what comes in between is later.
    let through = app.statistics.complete_through().await;
    let known = match find_out(app, asked, &visits).await {
        Ok(known) => known,
        Err(error) => return Problem::statistics(&caller.hop, &error),
    };
    let mut stats = document(asked, &known.value);
    stats.insert("linksCut".to_owned(), named.cut.into());
    put_marks(&mut stats, through, known.stale_since);
    json::answer(StatusCode::OK, &json!({ "stats": stats }))
}

async fn find_out(app: &App, asked: &Asked, visits: &Visits) -> Result<Answer<Known>, StatisticsError> {
    let statistics = &app.statistics;
    let (counts, series, tallies, visitors) = tokio::join!(
        statistics.counts(visits),
        statistics.series(visits, asked.interval, asked.offset_h),
        statistics.tallies(visits, asked.top),
        statistics.visitors(visits),
    );
    let all = counts?.and(series?).and(tallies?).and(visitors?);
    Ok(all.map(|(((counts, series), tallies), visitors)| Known { counts, series, tallies, visitors }))
}

fn document(asked: &Asked, known: &Known) -> Map<String, Value> {
    let offset = asked.offset();
    let with = |counts: Counts, name: &str, value: Value| {
        let mut document = summary(counts);
        document[name] = value;
        document
    };
    let top = |wanted: Dimension| -> Vec<Value> {
        let tallies = known.tallies.iter().filter(|tally| tally.dimension == wanted);
        tallies
            .map(|tally| {
                let mut document = with(tally.counts, "value", tally.value.as_str().into());
                if wanted == Dimension::Country {
                    document["name"] = country_name(&tally.value).into();
                }
                document
            })
            .collect()
    };
    let points = known.series.points.iter();
    let mut stats = Map::new();
    let mut put = |name: &str, value: Value| stats.insert(name.to_owned(), value);
    put("total", known.counts.total().into());
    put("nonBots", known.counts.non_bots.into());
    put("bots", known.counts.bots.into());
    put("uniqueVisitors", known.visitors.into());
    put("startDate", asked.span.from.map(|time| date_text(time, offset)).into());
    put("endDate", asked.span.to.map(|time| date_text(time - 1, offset)).into());
    put("interval", interval_name(asked.interval).into());
    put(
        "series",
        points.map(|point| with(point.counts, "date", date_text(point.from, offset).into())).collect(),
    );
    put("seriesCut", known.series.cut.into());
    put("countries", top(Dimension::Country).into());
    put("devices", top(Dimension::Device).into());
    put("browsers", top(Dimension::Browser).into());
    put("os", top(Dimension::Os).into());
    put("referrers", top(Dimension::Referrer).into());
    stats
}

fn interval_name(interval: Interval) -> &'static str {
    match interval {
        Interval::Hour => "hour",
        Interval::Day => "day",
        Interval::Month => "month",
    }
}

fn date_text(seconds: UnixSeconds, offset: UtcOffset) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let time = time.and_then(|time| time.checked_to_offset(offset));
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
