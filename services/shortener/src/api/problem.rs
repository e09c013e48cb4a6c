//! Errors of the API as RFC 9457 problem documents, with Shlink's types where Shlink has one.
//! 5xx documents say nothing of the cause: the event has it.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::limits::Limited;
use crate::statistics::StatisticsError;
use crate::store::StoreError;
use emitter::Hop;

/// Where Shlink's types live. Its clients compare them.
const TYPES: &str = "https://shlink.io/api/error/";

/// The type of what Shlink has no type for, since there statistics are in the same database as links.
const STATISTICS_UNAVAILABLE: &str = "urn:hoplog:error:statistics-unavailable";

/// The type of a question about statistics that would take more than one may.
const STATISTICS_TOO_MUCH: &str = "urn:hoplog:error:statistics-too-much";

/// Seconds after which a refused client may come again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// How whoever is not authenticated may be (RFC 9110, 11.6.1). No scheme that browsers know: they would ask their user.
const CHALLENGE: HeaderValue = HeaderValue::from_static("ApiKey realm=\"hoplog\", header=\"X-Api-Key\"");

/// A problem document.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    // Shlink's name of the type, or a whole one; without, the type is `about:blank` and the status says it all.
    name: Option<&'static str>,
    // The class in the event.
    kind: &'static str,
    title: &'static str,
    detail: String,
    more: Map<String, Value>,
    // `Retry-After`, where it is known.
    retry_after_s: Option<u64>,
}

impl Problem {
    fn shlink(
        status: StatusCode,
        name: &'static str,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            name: Some(name),
            kind,
            title,
            detail: detail.into(),
            more: Map::new(),
            retry_after_s: None,
        }
    }

    fn plain(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status, name: None, kind, title, detail: detail.into(), more: Map::new(), retry_after_s: None }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Fields that are wrong, each with what is wrong about it. `reasons` is ours, the rest is Shlink's.
    pub(crate) fn invalid(wrong: &[(&'static str, String)]) -> Self {
        let names: Vec<_> = wrong.iter().map(|(name, _)| *name).collect();
        let reasons: Map<String, Value> =
            wrong.iter().map(|(name, why)| ((*name).to_owned(), json!(why))).collect();
        Self::shlink(
            StatusCode::BAD_REQUEST,
            "invalid-data",
            "invalid_data",
            "Invalid data",
            "Provided data is not valid",
        )
        .with("invalidElements", names)
        .with("reasons", reasons)
    }

    /// `kind`: which way it is malformed.
    pub(crate) fn malformed_body(kind: &'static str, detail: &str) -> Self {
        Self::shlink(
            StatusCode::BAD_REQUEST,
            "malformed-request-body",
            kind,
            "Malformed request body",
            detail,
        )
    }

    /// `domain`: where it is not the default one. `suggestions`: slugs like it that are free.
    pub(crate) fn slug_taken(slug: &str, domain: Option<&str>, suggestions: &[String]) -> Self {
        let on = domain.map(|domain| format!(" for domain \"{domain}\"")).unwrap_or_default();
        let detail = format!("Provided slug \"{slug}\" is already in use{on}.");
        // Shlink answers 400; its clients look at the type, everybody else is better served by the right status.
        Self::shlink(StatusCode::CONFLICT, "non-unique-slug", "slug_taken", "Invalid custom slug", detail)
            .with("customSlug", slug)
            .with("suggestions", suggestions)
            .on_domain(domain)
    }

    pub(crate) fn short_url_not_found(code: &str, domain: Option<&str>) -> Self {
        let on = domain.map(|domain| format!(" for domain \"{domain}\"")).unwrap_or_default();
        let detail = format!("No URL found with short code \"{code}\"{on}");
        Self::shlink(
            StatusCode::NOT_FOUND,
            "short-url-not-found",
            "unknown_code",
            "Short URL not found",
            detail,
        )
        .with("shortCode", code)
        .on_domain(domain)
    }

    fn on_domain(self, domain: Option<&str>) -> Self {
        match domain {
            Some(domain) => self.with("domain", domain),
            None => self,
        }
    }

    pub(crate) fn tag_not_found(tag: &str) -> Self {
        let detail = format!("Tag with name \"{tag}\" could not be found");
        Self::shlink(StatusCode::NOT_FOUND, "tag-not-found", "unknown_tag", "Tag not found", detail)
            .with("tag", tag)
    }

    pub(crate) fn tag_conflict(old: &str, new: &str) -> Self {
        let detail = format!("You cannot rename tag {old} to {new}, because it already exists");
        Self::shlink(StatusCode::CONFLICT, "tag-conflict", "tag_conflict", "Tag conflict", detail)
            .with("oldName", old)
            .with("newName", new)
    }

    pub(crate) fn domain_not_found(authority: &str) -> Self {
        let detail = format!("Domain with authority \"{authority}\" could not be found");
        Self::shlink(StatusCode::NOT_FOUND, "domain-not-found", "unknown_domain", "Domain not found", detail)
            .with("authority", authority)
    }

    /// Live updates over Mercure are Shlink's; its clients ask whether there are any.
    pub(crate) fn no_mercure() -> Self {
        Self::shlink(
            StatusCode::NOT_IMPLEMENTED,
            "mercure-not-configured",
            "no_mercure",
            "Mercure integration not configured",
            "There is no Mercure hub here.",
        )
    }

    pub(crate) fn missing_authentication() -> Self {
        let detail =
            "Expected one of the following authentication headers, [\"X-Api-Key\"], but none were provided";
        Self::key_missing(detail).with("expectedTypes", json!(["X-Api-Key"]))
    }

    pub(crate) fn missing_key_in_query() -> Self {
        let detail = "Expected authentication to be provided in \"apiKey\" query param";
        Self::key_missing(detail).with("param", "apiKey")
    }

    fn key_missing(detail: &str) -> Self {
        let (kind, title) = ("missing-authentication", "Invalid authorization");
        Self::shlink(StatusCode::UNAUTHORIZED, kind, "key_missing", title, detail)
    }

    pub(crate) fn invalid_api_key() -> Self {
        let detail = "Provided API key does not exist or is invalid.";
        Self::shlink(StatusCode::UNAUTHORIZED, "invalid-api-key", "key_invalid", "Invalid API key", detail)
    }

    pub(crate) fn forbidden() -> Self {
        let detail = "The roles of this API key do not let it do that.";
        Self::shlink(StatusCode::FORBIDDEN, "forbidden", "forbidden", "Forbidden", detail)
    }

    /// Nothing is on the domain yet, and the key may not begin it.
    pub(crate) fn forbidden_domain(domain: &str) -> Self {
        let mut problem = Self::forbidden();
        problem.detail = format!(
            "The roles of this API key do not let it make the first short URL of domain \"{domain}\"."
        );
        problem.on_domain(Some(domain))
    }

    pub(crate) fn forbidden_tags() -> Self {
        let detail = "Only API keys without roles may rename or delete tags.";
        Self::shlink(
            StatusCode::FORBIDDEN,
            "forbidden-tag-operation",
            "forbidden",
            "Forbidden tag operation",
            detail,
        )
    }

    pub(crate) fn no_route() -> Self {
        Self::shlink(
            StatusCode::NOT_FOUND,
            "not-found",
            "no_route",
            "Not Found",
            "There is nothing at this path.",
        )
    }

    pub(crate) fn nul() -> Self {
        Self::plain(StatusCode::BAD_REQUEST, "nul", "The path or the query holds a NUL.")
    }

    pub(crate) fn method() -> Self {
        Self::plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "See the Allow header.")
    }

    /// The request names no host as HTTP/1.1 wants it; the hop is told by who found out.
    pub(crate) fn host(kind: &'static str, detail: &str) -> Response {
        Self::plain(StatusCode::BAD_REQUEST, kind, detail).into_response()
    }

    pub(crate) fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!("Bodies have at most {bytes_max} bytes. Nothing was done.");
        Self::plain(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    pub(crate) fn too_many_rows(rows_max: usize) -> Self {
        let detail = format!(
            "Files have at most {rows_max} rows. Nothing was imported: send it in parts, each with the header."
        );
        Self::plain(StatusCode::PAYLOAD_TOO_LARGE, "too_many_rows", detail)
    }

    /// A file that is no CSV as it should be; `rows` says where.
    pub(crate) fn malformed_csv(detail: &str, rows: Vec<Value>) -> Self {
        let detail = format!("{detail} Nothing was imported.");
        let problem = Self::malformed_body("body_no_csv", &detail);
        if rows.is_empty() { problem } else { problem.with("rows", rows) }
    }

    pub(crate) fn media_type() -> Self {
        let detail = "Links are imported from text/csv in UTF-8.";
        Self::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", detail)
    }

    /// HTTP/1.0 can't tell an answer that breaks off from one that ends.
    pub(crate) fn http_1_0() -> Self {
        let detail = "In HTTP/1.0 nobody could tell whether the file is whole: ask in HTTP/1.1.";
        Self::plain(StatusCode::UPGRADE_REQUIRED, "http_1_0", detail)
    }

    pub(crate) fn body_too_slow() -> Self {
        Self::plain(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "The body did not arrive in time.")
    }

    pub(crate) fn busy() -> Self {
        Self::plain(StatusCode::SERVICE_UNAVAILABLE, "shed", "Too many requests at the moment.")
    }

    /// The key makes too many calls; the type is that of draft-ietf-httpapi-ratelimit-headers-10.
    pub(crate) fn limited(limited: &Limited) -> Self {
        let title = "Request cannot be satisfied as assigned quota has been exceeded";
        let after_s = limited.retry_after_s();
        let detail = format!("There are too many calls: the next one may come in {after_s} s.");
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            name: Some("https://iana.org/assignments/http-problem-types#quota-exceeded"),
            kind: "rate_limited",
            title,
            detail,
            more: Map::new(),
            retry_after_s: Some(after_s),
        }
        .with("violated-policies", json!([limited.limiter]))
    }

    /// The link is not what `If-Match` says.
    pub(crate) fn changed_meanwhile() -> Self {
        let detail = "It was changed meanwhile. Its tag by now is in the ETag header.";
        Self::plain(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
    }

    pub(crate) fn precondition_malformed(field: &HeaderName) -> Self {
        let detail = format!("{field} is neither * nor a list of entity tags.");
        Self::plain(StatusCode::BAD_REQUEST, "precondition_malformed", detail)
    }

    pub(crate) fn idempotency_key_malformed() -> Self {
        let detail = "Idempotency-Key is one value of 1 to 255 visible ASCII characters.";
        Self::plain(StatusCode::BAD_REQUEST, "idempotency_key_malformed", detail)
    }

    /// Another try of the same request is not done.
    pub(crate) fn idempotency_in_flight() -> Self {
        let detail = "A request with this Idempotency-Key is under way.";
        let mut problem = Self::plain(StatusCode::CONFLICT, "idempotency_in_flight", detail);
        problem.retry_after_s = Some(1);
        problem
    }

    pub(crate) fn idempotency_other_payload() -> Self {
        let detail = "This Idempotency-Key was used for another request.";
        Self::plain(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_other_payload", detail)
    }

    /// An earlier try of the same request made it.
    pub(crate) fn deleted_since() -> Self {
        let detail = "The short URL that this request made was deleted since.";
        Self::plain(StatusCode::NOT_FOUND, "deleted_since", detail)
    }

    /// An earlier try of the same request was settled without it, and it could be made by now.
    pub(crate) fn invalid_before() -> Self {
        let detail = "An earlier try of this request found this to be invalid and made nothing of it. \
                      To make it, send it with another Idempotency-Key.";
        Self::plain(StatusCode::BAD_REQUEST, "invalid_before", detail)
    }

    /// The short URL can't be drawn.
    pub(crate) fn no_qr_code(detail: &str) -> Self {
        Self::plain(StatusCode::UNPROCESSABLE_ENTITY, "qr_too_long", detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The document alone, for one among others.
    pub(crate) fn document(&self) -> Value {
        let kind = match self.name {
            None => "about:blank".to_owned(),
            Some(name) if name.contains(':') => name.to_owned(),
            Some(name) => format!("{TYPES}{name}"),
        };
        let mut document = Map::new();
        document.insert("type".to_owned(), kind.into());
        document.insert("title".to_owned(), self.title.into());
        document.insert("detail".to_owned(), self.detail.as_str().into());
        document.insert("status".to_owned(), self.status.as_u16().into());
        document.extend(self.more.clone());
        Value::Object(document)
    }

    /// The document, and in the hop what it was.
    pub(crate) fn answer(self, hop: &Hop) -> Response {
        hop.error_type(self.kind);
        self.into_response()
    }

    /// The store failed: the cause goes to the hop, the client may come again.
    pub(crate) fn store(hop: &Hop, error: &StoreError) -> Response {
        Self::unavailable(hop, error.kind(), error)
    }

    /// There are no statistics: never, or not now, and then the client may come again; or it asks for too much.
    pub(crate) fn statistics(hop: &Hop, error: &StatisticsError) -> Response {
        if let StatisticsError::TooMuch(_) = error {
            let detail =
                "Counting that takes more than one question may: ask for a shorter time or for fewer links.";
            let mut problem = Self::plain(StatusCode::UNPROCESSABLE_ENTITY, error.kind(), detail);
            problem.name = Some(STATISTICS_TOO_MUCH);
            problem.title = "Too much to count";
            return problem.answer(hop);
        }
        hop.fail(error.kind(), error);
        let detail = match error {
            StatisticsError::Absent => "This service keeps no statistics.",
            StatisticsError::Stale => {
                "Statistics can't be read at the moment, and those of before are not enough."
            }
            _ => "Statistics can't be read at the moment, and nothing is known of before.",
        };
        let mut problem = Self::plain(StatusCode::SERVICE_UNAVAILABLE, error.kind(), detail);
        problem.name = Some(STATISTICS_UNAVAILABLE);
        problem.title = "Statistics unavailable";
        problem.into_response()
    }

    /// Something that the client can't help failed.
    pub(crate) fn unavailable(
        hop: &Hop,
        kind: &'static str,
        error: &(dyn std::error::Error + 'static),
    ) -> Response {
        hop.fail(kind, error);
        Self::plain(StatusCode::SERVICE_UNAVAILABLE, kind, "The link store does not answer at the moment.")
            .into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = super::json::answer(self.status, &self.document());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(after_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, after_s.into());
        } else if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
