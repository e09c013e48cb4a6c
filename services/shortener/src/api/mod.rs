//! The management API: Shlink's REST v3 as far as it is here, with keys, limits and problem documents.
//! Handlers translate between HTTP and [`crate::links`]; they decide nothing about links.

mod authority;
mod bulk;
mod cors;
mod countries;
mod csv;
mod cursor;
mod docs;
mod domains;
mod etag;
mod fields;
mod health;
mod idempotency;
mod json;
mod names;
mod numbers;
mod paths;
mod problem;
mod qr;
mod query;
mod short_urls;
mod statistics_scope;
mod stats;
mod tags;
mod targets;
mod visits;
mod work;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, patch};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use crate::access::Access;
use crate::keys::ApiKey;
use crate::limits::Quota;
use crate::links::AuthenticateError;
use crate::service::App;
use emitter::Hop;
pub(crate) use health::Health;
pub(crate) use paths::joined;
pub(crate) use problem::Problem;

/// The OpenAPI document of what is here; a test holds it against the routes.
const OPENAPI: &str = include_str!("openapi.json");

/// What Shlink's clients decide by which features to offer.
const SHLINK_VERSION: &str = "5.0.0";

/// Methods of each path, for `Allow`.
const ALLOW_COLLECTION: &str = "GET, HEAD, POST, OPTIONS";
const ALLOW_TAGS: &str = "GET, HEAD, PUT, DELETE, OPTIONS";
const ALLOW_EDIT: &str = "PATCH, OPTIONS";
const ALLOW_DELETE: &str = "GET, HEAD, DELETE, OPTIONS";
const ALLOW_READ: &str = "GET, HEAD, OPTIONS";

pub(crate) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let with_key = Router::new()
        .route(
            "/rest/v3/tags",
            get(tags::list)
                .put(tags::rename)
                .delete(tags::delete)
                .options(|| async { allow(ALLOW_TAGS) })
                .fallback(async |hop: Hop| refused_method(&hop, ALLOW_TAGS)),
        )
        .route("/rest/v3/tags/stats", read_only(get(tags::stats)))
        .route("/rest/v3/domains", read_only(get(domains::list)))
        .route(
            "/rest/v3/domains/redirects",
            patch(domains::set_redirects)
                .options(|| async { allow(ALLOW_EDIT) })
                .fallback(async |hop: Hop| refused_method(&hop, ALLOW_EDIT)),
        )
        .route("/rest/v3/mercure-info", read_only(get(mercure)))
        .merge(short_urls::routes())
        .merge(csv::routes())
        .merge(visits::routes())
        .merge(stats::routes())
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), require_key));
    let without_key = Router::new()
        .route("/rest/health", read_only(get(health::show)))
        .route("/rest/v3/health", read_only(get(health::show)))
        .route("/rest/v3/openapi.json", read_only(get(openapi)))
        .merge(docs::routes())
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), limit_client));
    Router::new()
        .route("/{code}/qr-code", read_only(get(qr::show)))
        .route("/rest", axum::routing::any(no_route))
        .route("/rest/{*path}", axum::routing::any(no_route))
        .merge(without_key)
        .merge(with_key)
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), admit))
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), cors::answer))
}

/// The hop of a request and who makes it.
pub(crate) struct Caller {
    pub(crate) hop: Hop,
    pub(crate) key: Option<ApiKey>,
    pub(crate) access: Access,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let Ok(hop) = Hop::from_request_parts(parts, &()).await;
        let (key, access) = (parts.extensions.get().cloned(), parts.extensions.get().cloned());
        Ok(Self { hop, key, access: access.unwrap_or_default() })
    }
}

/// Around every route and every refused method, where the hop learns its route and what follows gets a place.
async fn admit(State(app): State<Arc<App>>, hop: Hop, request: Request, next: Next) -> Response {
    // No text of ours holds a NUL, and not every store can be asked for one.
    if request.uri().path_and_query().is_some_and(|asked| asked.as_str().contains("%00")) {
        return Problem::nul().answer(&hop);
    }
    match app.admit(&hop, work::class(route(&request))) {
        Some(_place) => next.run(request).await,
        None => Problem::busy().into_response(),
    }
}

/// Who needs no key has no quota of one: such a call counts as a visit of the client.
async fn limit_client(State(app): State<Arc<App>>, hop: Hop, request: Request, next: Next) -> Response {
    match app.limits.visit(&hop) {
        Ok(()) => next.run(request).await,
        Err(limited) => {
            app.refuse(&hop, &limited);
            Problem::limited(&limited).into_response()
        }
    }
}

async fn require_key(State(app): State<Arc<App>>, hop: Hop, request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let text = match given_key(&request) {
        Ok(text) => text,
        Err(problem) => return problem.answer(&hop),
    };
    match app.links.authenticate(&hop, &app.limits, &text).await {
        Ok(Some(key)) => with_key(&app, &hop, key, request, next).await,
        Ok(None) => Problem::invalid_api_key().answer(&hop),
        Err(AuthenticateError::Store(error)) => Problem::store(&hop, &error),
        Err(AuthenticateError::Limited(limited)) => {
            app.refuse(&hop, &limited);
            Problem::limited(&limited).into_response()
        }
    }
}

/// The key that a request comes with.
fn given_key(request: &Request) -> Result<Cow<'_, str>, Problem> {
    if route(request) == work::SHORTEN && request.method() == Method::GET {
        return short_urls::key_in_query(request.uri())
            .map(Cow::Owned)
            .ok_or_else(Problem::missing_key_in_query);
    }
    let mut given = request.headers().get_all("x-api-key").iter();
    let (Some(key), None) = (given.next(), given.next()) else {
        return Err(Problem::missing_authentication());
    };
    // What is no text is no key; it is still somebody's try, and answered as such.
    Ok(Cow::Borrowed(key.to_str().unwrap_or_default()))
}

/// A request with a key that is accepted: within its quota, and if its roles allow it.
async fn with_key(app: &App, hop: &Hop, key: ApiKey, mut request: Request, next: Next) -> Response {
    hop.api_key_id(&key.id);
    let calls = work::calls(request.method(), route(&request));
    let quota = app.limits.call(hop, &key.id, calls).await;
    let access = Access::of(key.clone());
    let mut response = if let Some(limited) = quota.and_then(|quota| quota.limited()) {
        app.refuse(hop, &limited);
        Problem::limited(&limited).into_response()
    } else {
        let (method, route, uri) = (request.method(), route(&request), request.uri());
        match authority::check(app, hop, &access, method, route, uri).await {
            Err(response) => response,
            Ok(()) => {
                request.extensions_mut().insert(key);
                request.extensions_mut().insert(access);
                next.run(request).await
            }
        }
    };
    for (name, value) in quota.iter().flat_map(Quota::headers) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The route of a request, as the router knows it.
fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}

async fn no_route(caller: Caller) -> Response {
    Problem::no_route().answer(&caller.hop)
}

/// Shlink's clients ask for it before they subscribe to anything.
async fn mercure(caller: Caller) -> Response {
    Problem::no_mercure().answer(&caller.hop)
}

/// What can be read, and deleted as a whole.
fn deletable(route: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    route
        .options(|| async { allow(ALLOW_DELETE) })
        .fallback(async |hop: Hop| refused_method(&hop, ALLOW_DELETE))
}

fn read_only(route: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    route.options(|| async { allow(ALLOW_READ) }).fallback(async |hop: Hop| refused_method(&hop, ALLOW_READ))
}

fn allow(methods: &'static str) -> Response {
    (StatusCode::NO_CONTENT, [(header::ALLOW, HeaderValue::from_static(methods))]).into_response()
}

fn refused_method(hop: &Hop, methods: &'static str) -> Response {
    let mut response = Problem::method().answer(hop);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}
