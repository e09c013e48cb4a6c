//! Visits with Shlink's routes and payloads: the overview, and lists of single visits by link, tag, domain and of none.
//! What a visit is and how it is counted is not known here: see [`crate::statistics`].

mod document;
mod query;
mod summaries;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use emitter::Hop;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use self::document::Targets;
use self::query::Asked;
use super::names::{Found, LinkName};
use super::problem::Problem;
use super::statistics_scope::Named;
use super::{Caller, deletable, json, numbers, read_only, statistics_scope};
use crate::keys::now;
use crate::link::{LinkEdit, UnixSeconds};
use crate::service::App;
use crate::statistics::{Answer, Scope, SingleVisit, Span, Visits, VisitsPage, VisitsQuery};
use crate::store::{Changed, StoreError};

pub(super) use document::{put_marks, summary};
pub(super) use summaries::{
    TagCounts, TagsError, of_tags, put_counts, put_none, put_summaries, put_tag_counts, put_tag_summaries,
    totals,
};

/// Versions of a link that are in memory at once, each with up to twenty rules.
const VERSIONS_AT_ONCE: usize = 100;

/// Shlink's routes of visits.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/rest/v3/visits", read_only(get(overview)))
        .route("/rest/v3/visits/non-orphan", read_only(get(non_orphan)))
        .route("/rest/v3/visits/orphan", deletable(get(orphan).delete(delete_orphan)))
        .route("/rest/v3/short-urls/{short_code}/visits", deletable(get(of_link).delete(delete_of_link)))
        .route("/rest/v3/tags/{tag}/visits", read_only(get(of_tag)))
        .route("/rest/v3/domains/{domain}/visits", read_only(get(of_domain)))
}

async fn overview(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let hop = &caller.hop;
    let from = match app.links.orphan_visits_from(hop).await {
        Ok(from) => from,
        Err(error) => return Problem::store(hop, &error),
    };
    let named = match statistics_scope::of_all(&app, hop, &caller.access).await {
        Ok(named) => named,
        Err(response) => return response,
    };
    let through = app.statistics.complete_through().await;
    let linked = Visits { scope: named.scope, span: Span::default(), exclude_bots: false };
    let orphans = orphans(from);
    let orphans = async {
        // As in Shlink: for a key that must not see them there are none.
        if caller.access.sees_orphans() {
            app.statistics.counts(&orphans).await
        } else {
            Ok(Answer::default())
        }
    };
    let (linked, orphans) = tokio::join!(app.statistics.counts(&linked), orphans);
    let answer = match linked.and_then(|linked| Ok(linked.and(orphans?))) {
        Ok(answer) => answer,
        Err(error) => return Problem::statistics(hop, &error),
    };
    let (linked, orphans) = answer.value;
    let mut visits = json!({
        "nonOrphanVisits": summary(linked),
        "orphanVisits": summary(orphans),
        // What it was called before Shlink 3.5.
        "visitsCount": linked.total(),
        "orphanVisitsCount": orphans.total(),
        "linksCut": named.cut,
    });
    mark(&mut visits, through, answer.stale_since);
    json::answer(StatusCode::OK, &json!({ "visits": visits }))
}

async fn of_link(State(app): State<Arc<App>>, caller: Caller, Found(link): Found, uri: Uri) -> Response {
    let asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(&caller.hop),
    };
    let id = link.id;
    let page = match read(&app, &caller.hop, asked, statistics_scope::of_link(link)).await {
        Ok(page) => page,
        Err(response) => return response,
    };
    match targets(&app, &caller.hop, id, page.visits()).await {
        Ok(targets) => page.answer(|visit| document::visit_of(&app, &targets, visit)),
        Err(error) => Problem::store(&caller.hop, &error),
    }
}

/// Where a link has led these visits.
async fn targets(app: &App, hop: &Hop, link_id: i64, visits: &[SingleVisit]) -> Result<Targets, StoreError> {
    let served: BTreeSet<_> = visits.iter().map(|visit| (visit.version, visit.rule)).collect();
    let versions: BTreeSet<_> = served.iter().map(|(version, _)| *version).collect();
    let mut targets = Targets::new();
    for some in Vec::from_iter(versions).chunks(VERSIONS_AT_ONCE) {
        for version in app.links.versions(hop, link_id, some).await? {
            let since = version.rules_since.unwrap_or(UnixSeconds::MIN);
            let rules = version.rules.unwrap_or_default().into_iter().map(|rule| (rule.target, since));
            let all = std::iter::once((version.target, UnixSeconds::MIN)).chain(rules);
            for (place, target) in (0..).zip(all) {
                if served.contains(&(version.version, place)) {
                    targets.insert((version.version, place), target);
                }
            }
        }
    }
    Ok(targets)
}

/// Visits of a link are deleted by a time: those up to now, its second included, are shown no more.
async fn delete_of_link(
    State(app): State<Arc<App>>,
    caller: Caller,
    name: LinkName,
    Found(link): Found,
) -> Response {
    let hop = &caller.hop;
    let scope = statistics_scope::of_link(link).scope;
    let visits = Visits { scope, span: Span::default(), exclude_bots: false };
    let deleted = match app.statistics.counts(&visits).await {
        Ok(answer) => answer.value.total(),
        Err(error) => return Problem::statistics(hop, &error),
    };
    let edit =
        LinkEdit { visits_from: Some(now() + 1), by: caller.key.map(|key| key.owner), ..LinkEdit::default() };
    match app.edit(hop, name.link(), edit).await {
        Ok(Changed::Done(_)) => json::answer(StatusCode::OK, &json!({ "deletedVisits": deleted })),
        Ok(_) => name.not_found().answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

async fn of_tag(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(hop),
    };
    match statistics_scope::of_tag(&app, hop, &caller.access, &uri).await {
        Ok(scope) => list(&app, &caller, asked, scope, document::visit).await,
        Err(response) => response,
    }
}

async fn of_domain(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(hop),
    };
    match statistics_scope::of_domain(&app, hop, &caller.access, &uri).await {
        Ok(scope) => list(&app, &caller, asked, scope, document::visit).await,
        Err(response) => response,
    }
}

async fn non_orphan(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(hop),
    };
    match statistics_scope::of_links(&app, hop, &caller.access, &uri).await {
        Ok(scope) => list(&app, &caller, asked, scope, document::visit).await,
        Err(response) => response,
    }
}

async fn orphan(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let mut asked = match query::parse(uri.query()) {
        Ok(asked) => asked,
        Err(wrong) => return Problem::invalid(&wrong).answer(hop),
    };
    match app.links.orphan_visits_from(hop).await {
        Ok(from) => asked.span.from = asked.span.from.max(from),
        Err(error) => return Problem::store(hop, &error),
    }
    let named = statistics_scope::of_orphans(&app, &uri, asked.kind);
    list(&app, &caller, asked, named, document::orphan_visit).await
}

/// As [`delete_of_link`]: by a time.
async fn delete_orphan(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let hop = &caller.hop;
    let from = match app.links.orphan_visits_from(hop).await {
        Ok(from) => from,
        Err(error) => return Problem::store(hop, &error),
    };
    let deleted = match app.statistics.counts(&orphans(from)).await {
        Ok(answer) => answer.value.total(),
        Err(error) => return Problem::statistics(hop, &error),
    };
    match app.links.set_orphan_visits_from(hop, now() + 1).await {
        Ok(()) => json::answer(StatusCode::OK, &json!({ "deletedVisits": deleted })),
        Err(error) => Problem::store(hop, &error),
    }
}

fn orphans(from: Option<UnixSeconds>) -> Visits {
    let scope = Scope::Orphans { domain: None, kind: None };
    Visits { scope, span: Span { from, to: None }, exclude_bots: false }
}

async fn list(
    app: &App,
    caller: &Caller,
    asked: Asked,
    named: Named,
    document: impl Fn(&App, &SingleVisit) -> Value,
) -> Response {
    match read(app, &caller.hop, asked, named).await {
        Ok(page) => page.answer(|visit| document(app, visit)),
        Err(response) => response,
    }
}

/// A page of visits, and what is said of it.
struct Page {
    asked: Asked,
    answer: Answer<VisitsPage>,
    through: Option<UnixSeconds>,
    /// See [`Named::cut`].
    cut: bool,
}

async fn read(app: &App, hop: &Hop, asked: Asked, named: Named) -> Result<Page, Response> {
    let query = VisitsQuery {
        begin: asked.begin(),
        limit: asked.per_page,
        visits: Visits { scope: named.scope, span: asked.span, exclude_bots: asked.exclude_bots },
    };
    // First up to when it holds, then what is there: what comes in between is later.
    let through = app.statistics.complete_through().await;
    let answer = app.statistics.page(&query).await.map_err(|error| Problem::statistics(hop, &error))?;
    Ok(Page { asked, answer, through, cut: named.cut })
}

impl Page {
    fn visits(&self) -> &[SingleVisit] {
        self.answer.value.visits()
    }

    fn answer(&self, document: impl Fn(&SingleVisit) -> Value) -> Response {
        let Self { asked, answer, .. } = self;
        let VisitsPage { total, next, .. } = answer.value;
        let mut visits = json!({
            "data": self.visits().iter().map(document).collect::<Vec<_>>(),
            "pagination": {
                "currentPage": asked.page,
                "pagesCount": total.map(|total| numbers::pages(total, u64::from(asked.per_page))),
                "itemsPerPage": asked.per_page,
                "itemsInCurrentPage": self.visits().len(),
                "totalItems": total,
                "nextCursor": next.map(query::cursor),
            },
            // Of more links than one question may be about, the newest are counted.
            "linksCut": self.cut,
        });
        mark(&mut visits, self.through, answer.stale_since);
        json::answer(StatusCode::OK, &json!({ "visits": visits }))
    }
}

fn mark(document: &mut Value, through: Option<UnixSeconds>, stale: Option<UnixSeconds>) {
    if let Value::Object(object) = document {
        put_marks(object, through, stale);
    }
}
