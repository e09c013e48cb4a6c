//! `POST /rest/v3/short-urls`.
//! What a field may be is said by [`super::super::fields`]; whether an alias is free, by the store.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use super::document::document;
use super::{authority, check_period, is_default_domain, read_target, tell};
use crate::api::fields::{Fields, boolean, date, positive, tags, text, title};
use crate::api::problem::Problem;
use crate::api::{Caller, json};
use crate::codes::{self, CODE_LENGTH_MAX, CODE_LENGTH_MIN, CodeError};
use crate::domain::DEFAULT_DOMAIN;
use crate::link::{Match, Settings};
use crate::links::{Alias, CreateError, CreateLink};
use crate::service::App;
use crate::store::Created;

pub(in crate::api) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Response {
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
