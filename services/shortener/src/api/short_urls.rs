//! `/rest/v3/short-urls` and `/rest/v3/short-urls/{shortCode}`, with Shlink's payloads.
//! Counts of visits are left out: they live with the exact clicks, and zeros would be a lie.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::fields::{Fields, boolean, date, positive, tags, text, title};
use super::problem::Problem;
use super::{Caller, json, query};
use crate::codes::{self, CODE_LENGTH_MAX, CODE_LENGTH_MIN, CodeError};
use crate::domain::DEFAULT_DOMAIN;
use crate::link::{Link, LinkEdit, LinkRef, Match, Settings, UnixSeconds};
use crate::links::{Alias, CreateError, CreateLink};
use crate::service::App;
use crate::store::{Changed, Created};
use crate::target::{self, Target};
use emitter::Hop;

pub(super) async fn create(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let object = match json::object(request, &app.config.limits).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let request = match read_creation(&app, object, caller.key.map(|key| key.owner)) {
        Ok(request) => request,
        Err(problem) => return problem.answer(hop),
    };
    let alias = request.alias.clone();
    match app.links.create(hop, request).await {
        Ok(Created::New(link)) => {
            tell(hop, &link);
            json::answer(StatusCode::CREATED, &document(&app, &link))
        }
        Ok(Created::Found(link)) => {
            tell(hop, &link);
            json::answer(StatusCode::OK, &document(&app, &link))
        }
        Ok(Created::Taken) | Err(CreateError::Taken) => {
            let slug = if let Alias::Custom(slug) = &alias { slug } else { "" };
            Problem::slug_taken(slug).answer(hop)
        }
        Err(CreateError::Code(CodeError::Exhausted(_) | CodeError::Length(_))) => {
            let why = "has no unused codes left: choose a longer one".to_owned();
            Problem::invalid(&[("shortCodeLength", why)]).answer(hop)
        }
        Err(error @ CreateError::CodesTaken) => Problem::unavailable(hop, "codes_taken", &error),
        Err(CreateError::Store(error) | CreateError::Code(CodeError::Store(error))) => {
            Problem::store(hop, &error)
        }
    }
}

pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let request = match query::parse(uri.query()) {
        Ok(request) => request,
        Err(wrong) => return Problem::invalid(&wrong).answer(hop),
    };
    if let Some(domain) = request.domain.as_deref().filter(|domain| !is_default_domain(&app, domain)) {
        let why = format!("is unknown: only {} is served", authority(&app));
        tracing::debug!(domain, "list of an unknown domain");
        return Problem::invalid(&[("domain", why)]).answer(hop);
    }
    let page = match app.links.list(hop, &request.query).await {
        Ok(page) => page,
        Err(error) => return Problem::store(hop, &error),
    };
    let per_page = u64::from(request.query.limit);
    json::answer(
        StatusCode::OK,
        &json!({
            "shortUrls": {
                "data": page.links.iter().map(|link| document(&app, link)).collect::<Vec<_>>(),
                "pagination": {
                    "currentPage": request.page,
                    "pagesCount": page.total.unwrap_or_default().div_ceil(per_page),
                    "itemsPerPage": per_page,
                    "itemsInCurrentPage": page.links.len(),
                    "totalItems": page.total,
                }
            }
        }),
    )
}

pub(super) async fn show(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let code = match short_code(&app, hop, &uri) {
        Ok(code) => code,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.find(hop, LinkRef::on_default(&code)).await {
        Ok(Some(link)) => {
            tell(hop, &link);
            json::answer(StatusCode::OK, &document(&app, &link))
        }
        Ok(None) => Problem::short_url_not_found(&code, None).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

pub(super) async fn edit(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = &caller.hop;
    let code = match short_code(&app, hop, request.uri()) {
        Ok(code) => code,
        Err(problem) => return problem.answer(hop),
    };
    let object = match json::object(request, &app.config.limits).await {
        Ok(object) => object,
        Err(problem) => return problem.answer(hop),
    };
    let edit = match read_edit(&app, object) {
        Ok(edit) => edit,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.edit(hop, LinkRef::on_default(&code), &edit).await {
        Ok(Changed::Done(link)) => {
            tell(hop, &link);
            json::answer(StatusCode::OK, &document(&app, &link))
        }
        Ok(_) => Problem::short_url_not_found(&code, None).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

pub(super) async fn delete(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let code = match short_code(&app, hop, &uri) {
        Ok(code) => code,
        Err(problem) => return problem.answer(hop),
    };
    match app.links.delete(hop, LinkRef::on_default(&code), None).await {
        Ok(Changed::Done(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => Problem::short_url_not_found(&code, None).answer(hop),
        Err(error) => Problem::store(hop, &error),
    }
}

fn read_creation(
    app: &App,
    object: Map<String, Value>,
    owner: Option<String>,
) -> Result<CreateLink, Problem> {
    let limits = &app.config.links;
    let mut fields = Fields::new(object);
    let target = read_target(app, &mut fields);
    if target.is_none() && fields.wrong.is_empty() {
        fields.refuse("longUrl", "is missing");
    }
    if let Some(domain) = fields.optional("domain", text)
        && !is_default_domain(app, &domain)
    {
        fields.refuse("domain", format!("is unknown: only {} is served", authority(app)));
    }
    let alias = read_alias(app, &mut fields);
    let named_title = fields.optional("title", title);
    let named_tags = fields.optional("tags", |value| tags(value, limits.tags_max));
    let valid_since = fields.optional("validSince", date);
    let valid_until = fields.optional("validUntil", date);
    check_period(&mut fields, valid_since, valid_until);
    let max_visits = fields.optional("maxVisits", positive);
    let crawlable = fields.optional("crawlable", boolean).unwrap_or(false);
    let forward_query = fields.optional("forwardQuery", boolean).unwrap_or(true);
    let find_if_exists = fields.optional("findIfExists", boolean).unwrap_or(false);
    let (true, Some(target), Some(alias)) = (fields.wrong.is_empty(), target, alias) else {
        return Err(Problem::invalid(&fields.wrong));
    };
    let unless = find_if_exists.then(|| Match {
        code: if let Alias::Custom(slug) = &alias { Some(slug.clone()) } else { None },
        domain: DEFAULT_DOMAIN.to_owned(),
        owner: None,
        title: named_title.clone(),
        tags: named_tags.clone(),
        valid_since,
        valid_until,
        max_visits,
    });
    let settings = Settings {
        title: named_title.filter(|title| !title.is_empty()),
        tags: named_tags.unwrap_or_default(),
        valid_since,
        valid_until,
        max_visits,
        crawlable,
        forward_query,
        redirect_status: None,
        cache_lifetime_s: None,
    };
    Ok(CreateLink {
        domain: DEFAULT_DOMAIN.to_owned(),
        alias,
        target,
        settings,
        rules: Vec::new(),
        unless,
        owner,
    })
}

fn read_edit(app: &App, object: Map<String, Value>) -> Result<LinkEdit, Problem> {
    let mut fields = Fields::new(object);
    let edit = LinkEdit {
        target: read_target(app, &mut fields),
        title: fields.nullable("title", title).map(|title| title.filter(|title| !title.is_empty())),
        tags: fields
            .nullable("tags", |value| tags(value, app.config.links.tags_max))
            .map(Option::unwrap_or_default),
        valid_since: fields.nullable("validSince", date),
        valid_until: fields.nullable("validUntil", date),
        max_visits: fields.nullable("maxVisits", positive),
        crawlable: fields.optional("crawlable", boolean),
        forward_query: fields.optional("forwardQuery", boolean),
        ..LinkEdit::default()
    };
    check_period(&mut fields, edit.valid_since.flatten(), edit.valid_until.flatten());
    if fields.wrong.is_empty() { Ok(edit) } else { Err(Problem::invalid(&fields.wrong)) }
}

fn read_target(app: &App, fields: &mut Fields) -> Option<Target> {
    let long_url = fields.optional("longUrl", text)?;
    match target::parse(&long_url, app.config.links.url_bytes_max, &app.own_hosts) {
        Ok(target) => Some(target),
        Err(error) => {
            fields.refuse("longUrl", error);
            None
        }
    }
}

fn read_alias(app: &App, fields: &mut Fields) -> Option<Alias> {
    let limits = &app.config.links;
    let length = fields.optional("shortCodeLength", positive);
    let length = match length.map(u32::try_from) {
        None => Some(limits.code_length),
        Some(Ok(length)) if (CODE_LENGTH_MIN..=CODE_LENGTH_MAX).contains(&length) => Some(length),
        Some(_) => {
            fields.refuse("shortCodeLength", format!("is not {CODE_LENGTH_MIN} to {CODE_LENGTH_MAX}"));
            None
        }
    };
    match fields.optional("customSlug", text) {
        None => length.map(Alias::Generated),
        // Shlink's clients send an empty slug where none was entered.
        Some(slug) if slug.is_empty() => length.map(Alias::Generated),
        Some(slug) => match codes::normalise(&slug, limits.slug_bytes_max) {
            Ok(slug) => Some(Alias::Custom(slug)),
            Err(error) => {
                fields.refuse("customSlug", error);
                None
            }
        },
    }
}

fn check_period(fields: &mut Fields, since: Option<UnixSeconds>, until: Option<UnixSeconds>) {
    if let (Some(since), Some(until)) = (since, until)
        && until <= since
    {
        fields.refuse("validUntil", "is not after validSince");
    }
}

/// The alias that a path names.
fn short_code(app: &App, hop: &Hop, uri: &Uri) -> Result<String, Problem> {
    let raw = uri.path().rsplit('/').next().unwrap_or_default();
    let code = percent_decode_str(raw).decode_utf8_lossy();
    let domain = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find_map(|(name, value)| (name == "domain").then_some(value));
    if let Some(domain) = domain.filter(|domain| !is_default_domain(app, domain)) {
        return Err(Problem::short_url_not_found(&code, Some(&domain)));
    }
    if !codes::is_possible(&code, app.config.links.slug_bytes_max) {
        return Err(Problem::short_url_not_found(&code, None));
    }
    hop.code(&code);
    Ok(code.into_owned())
}

/// Empty and `DEFAULT` are Shlink's names for it.
fn is_default_domain(app: &App, domain: &str) -> bool {
    domain.is_empty() || domain == "DEFAULT" || domain.eq_ignore_ascii_case(authority(app))
}

fn authority(app: &App) -> &str {
    app.base_url.authority()
}

fn tell(hop: &Hop, link: &Link) {
    hop.code(&link.code);
    let target = url::Url::parse(&link.target).ok();
    let target_host = target.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    hop.link(link.id.cast_unsigned(), link.version);
    hop.target_host(target_host);
}

fn document(app: &App, link: &Link) -> Value {
    let settings = &link.settings;
    json!({
        "shortCode": link.code,
        "shortUrl": app.short_url(&link.code),
        "longUrl": link.target,
        "dateCreated": date_text(link.created_at),
        "tags": settings.tags,
        "meta": {
            "validSince": settings.valid_since.map(date_text),
            "validUntil": settings.valid_until.map(date_text),
            "maxVisits": settings.max_visits,
        },
        "domain": null,
        "title": settings.title,
        "crawlable": settings.crawlable,
        "forwardQuery": settings.forward_query,
        "hasRedirectRules": !link.rules.is_empty(),
    })
}

/// As PHP's ATOM format has it. Empty for what is no date, which no field lets in.
fn date_text(seconds: UnixSeconds) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default()
}
