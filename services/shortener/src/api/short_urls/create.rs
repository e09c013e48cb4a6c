//! `POST /rest/v3/short-urls`.
//! What a field may be is said by [`super::super::fields`]; whether an alias is free, by the store.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::check_period;
use super::document::document;
use crate::api::fields::{
    Fields, boolean, cache_lifetime, date, positive, redirect_status, tags, text, title,
};
use crate::api::names::{self, other_domain, tell};
use crate::api::problem::Problem;
use crate::api::visits::{put_none, put_summaries};
use crate::api::{Caller, domains, etag, idempotency, json, targets};
use crate::codes::{self, CODE_LENGTH_MAX, CODE_LENGTH_MIN, CodeError};
use crate::domain::DEFAULT_DOMAIN;
use crate::link::{Link, Match, Settings};
use crate::links::{Alias, CreateError, CreateLink, Made};
use crate::service::App;
use emitter::Hop;

pub(in crate::api) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Response {
    let hop = &caller.hop;
    let headers = request.headers().clone();
    let object = match json::object(request, &app.config.limits).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let once = match idempotency::once(&headers, caller.key.as_ref(), "short-urls", &object) {
        Ok(once) => once,
        Err(problem) => return problem.answer(hop),
    };
    let mut request = match read_creation(&app, object, caller.key.map(|key| key.owner)) {
        Ok(request) => request,
        Err(problem) => return problem.answer(hop),
    };
    if let Err(problem) = domains::claim(&app, &caller.access, &domains::NewDomains::default(), &mut request)
    {
        return problem.answer(hop);
    }
    let outcome = match app.create(hop, vec![Some(request.clone())], once).await {
        Ok(outcome) => outcome,
        Err(error) => return refused(hop, error),
    };
    let response = match outcome.all.into_iter().next() {
        Some(Made::New(link)) => {
            tell(hop, &link);
            let mut document = document(&app, &link);
            if outcome.replayed {
                // It may have been visited since.
                put_summaries(&app, std::slice::from_ref(&link), std::slice::from_mut(&mut document)).await;
            } else {
                put_none(&app, &mut document);
            }
            let mut response = etag::answer(StatusCode::CREATED, &link, &document);
            response.headers_mut().extend(location(&link));
            response
        }
        Some(Made::Found(link)) => {
            tell(hop, &link);
            let mut document = document(&app, &link);
            put_summaries(&app, std::slice::from_ref(&link), std::slice::from_mut(&mut document)).await;
            etag::answer(StatusCode::OK, &link, &document)
        }
        Some(Made::Gone) => Problem::deleted_since().answer(hop),
        Some(Made::Refused) => Problem::invalid_before().answer(hop),
        Some(Made::Taken) | None => {
            let free = app.links.suggestions(hop, &[&request], app.config.links.slug_bytes_max).await;
            Problem::slug_taken(request.slug(), other_domain(&request.domain), &free.concat()).answer(hop)
        }
    };
    idempotency::mark(response, outcome.replayed)
}

/// Why nothing was created.
pub(in crate::api) fn refused(hop: &Hop, error: CreateError) -> Response {
    match error {
        CreateError::Code(CodeError::Exhausted(_) | CodeError::Length(_)) => {
            let why = "has no unused codes left: choose a longer one".to_owned();
            Problem::invalid(&[("shortCodeLength", why)]).answer(hop)
        }
        CreateError::InFlight => Problem::idempotency_in_flight().answer(hop),
        CreateError::OtherPayload => Problem::idempotency_other_payload().answer(hop),
        error @ CreateError::CodesTaken => Problem::unavailable(hop, "codes_taken", &error),
        error @ CreateError::Random(_) => Problem::unavailable(hop, "no_randomness", &error),
        CreateError::Store(error) => Problem::store(hop, &error),
        CreateError::Code(CodeError::Store(error)) => Problem::store(hop, &error),
    }
}

/// Where a new short URL is managed.
fn location(link: &Link) -> Option<(HeaderName, HeaderValue)> {
    let code = utf8_percent_encode(&link.code, NON_ALPHANUMERIC);
    let mut path = format!("/rest/v3/short-urls/{code}");
    if link.domain != DEFAULT_DOMAIN {
        path = format!("{path}?domain={}", utf8_percent_encode(&link.domain, NON_ALPHANUMERIC));
    }
    HeaderValue::try_from(path).ok().map(|path| (header::LOCATION, path))
}

/// What an object of fields asks for.
pub(in crate::api) fn read_creation(
    app: &App,
    object: Map<String, Value>,
    owner: Option<String>,
) -> Result<CreateLink, Problem> {
    let limits = &app.config.links;
    let mut fields = Fields::new(object);
    let domain = read_domain(app, &mut fields);
    let target = targets::long_url(app, &domain, &mut fields);
    if target.is_none() && !fields.is_wrong("longUrl") {
        fields.refuse("longUrl", "is missing");
    }
    let alias = read_alias(app, &mut fields);
    // An empty title and no tags are none given, and ask for nothing of a link that is there.
    let named_title = fields.optional("title", title).filter(|title| !title.is_empty());
    let named_tags = fields.optional("tags", |value| tags(value, limits.tags_max));
    let named_tags = named_tags.filter(|tags| !tags.is_empty());
    let valid_since = fields.optional("validSince", date);
    let valid_until = fields.optional("validUntil", date);
    check_period(&mut fields, valid_since, valid_until);
    let max_visits = fields.optional("maxVisits", positive);
    let crawlable = fields.optional("crawlable", boolean);
    let forward_query = fields.optional("forwardQuery", boolean);
    let status = fields.optional("redirectStatus", redirect_status);
    let lifetime = fields.optional("cacheLifetime", cache_lifetime);
    let find_if_exists = fields.optional("findIfExists", boolean).unwrap_or(false);
    let (true, Some(target), Some(alias)) = (fields.wrong.is_empty(), target, alias) else {
        return Err(Problem::invalid(&fields.wrong));
    };
    let unless = find_if_exists.then(|| Match {
        code: if let Alias::Custom { slug, .. } = &alias { Some(slug.clone()) } else { None },
        domain: domain.clone(),
        owner: None,
        title: named_title.clone(),
        tags: named_tags.clone(),
        valid_since,
        valid_until,
        max_visits,
        crawlable,
        forward_query,
        redirect_status: status,
        cache_lifetime_s: lifetime,
    });
    let defaults = Settings::default();
    let settings = Settings {
        title: named_title,
        tags: named_tags.unwrap_or_default(),
        valid_since,
        valid_until,
        max_visits,
        crawlable: crawlable.unwrap_or(defaults.crawlable),
        forward_query: forward_query.unwrap_or(defaults.forward_query),
        redirect_status: status,
        cache_lifetime_s: lifetime,
    };
    Ok(CreateLink {
        domain,
        alias,
        target,
        settings,
        rules: Vec::new(),
        unless,
        owner,
        created_at: None,
        visits_from: None,
    })
}

fn read_domain(app: &App, fields: &mut Fields) -> String {
    let named = fields.optional("domain", text).unwrap_or_default();
    names::domain(app, &named).unwrap_or_else(|error| {
        fields.refuse("domain", error);
        DEFAULT_DOMAIN.to_owned()
    })
}

fn read_alias(app: &App, fields: &mut Fields) -> Option<Alias> {
    let limits = &app.config.links;
    let length = fields.optional("shortCodeLength", positive);
    let length = match length.map(u32::try_from) {
        None => limits.code_length,
        Some(Ok(length)) if (CODE_LENGTH_MIN..=CODE_LENGTH_MAX).contains(&length) => length,
        Some(_) => {
            fields.refuse("shortCodeLength", format!("is not {CODE_LENGTH_MIN} to {CODE_LENGTH_MAX}"));
            return None;
        }
    };
    let prefix = fields.optional("pathPrefix", text).unwrap_or_default();
    // Shlink's clients send an empty slug where none was entered.
    let slug = fields.optional("customSlug", text).filter(|slug| !slug.is_empty());
    if let Some(slug) = slug {
        let slug = codes::normalise(&format!("{prefix}{slug}"), limits.slug_bytes_max);
        let prefix = codes::normalise_prefix(&prefix, limits.slug_bytes_max);
        return match slug.and_then(|slug| Ok(Alias::Custom { slug, prefix: prefix? })) {
            Ok(alias) => Some(alias),
            Err(error) => {
                fields.refuse("customSlug", error);
                None
            }
        };
    }
    let bytes_max = limits.slug_bytes_max.saturating_sub(length as usize);
    match codes::normalise_prefix(&prefix, bytes_max) {
        Ok(prefix) => Some(Alias::Generated { prefix, length }),
        Err(error) => {
            fields.refuse("pathPrefix", error);
            None
        }
    }
}
