//! The pages that visitors get instead of a redirect. Small, without scripts, and every stored text escaped.
//! Nothing here looks at a request.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

/// Seconds after which a refused visitor may come again: load passes, and stores restart, in about that.
const RETRY_AFTER_S: &str = "1";

/// Nothing on these pages loads, runs or frames anything.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:15vh auto;padding:0 1em}\
                     code{overflow-wrap:anywhere}";

pub(super) fn base() -> Response {
    html(StatusCode::OK, page("hoplog", "<p>This is a URL shortener.</p>"))
}

pub(super) fn not_found() -> Response {
    html(StatusCode::NOT_FOUND, page("Not found", "<p>There is no such link.</p>"))
}

/// `allow`: the methods that would do.
pub(super) fn method_not_allowed(allow: &'static str) -> Response {
    let text = page("Method not allowed", "<p>Links are only followed.</p>");
    let mut response = html(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

pub(super) fn gone() -> Response {
    html(StatusCode::GONE, page("Gone", "<p>This link is no longer valid.</p>"))
}

pub(super) fn blocked() -> Response {
    html(StatusCode::GONE, page("Blocked", "<p>Where this link leads is blocked here.</p>"))
}

pub(super) fn unavailable() -> Response {
    retry(page("Unavailable", "<p>This link can't be looked up at the moment.</p>"))
}

pub(super) fn busy() -> Response {
    retry(page("Busy", "<p>Too many requests at the moment.</p>"))
}

/// `after_s`: seconds after which the visitor may come again.
pub(super) fn limited(after_s: u64) -> Response {
    let mut response =
        html(StatusCode::TOO_MANY_REQUESTS, page("Slow down", "<p>Too many requests from your network.</p>"));
    response.headers_mut().insert(header::RETRY_AFTER, after_s.into());
    response
}

/// Where a link leads other visitors than the one who asks.
pub(super) struct Others<'a> {
    pub(super) targets: &'a [&'a str],
    /// Whether it would lead some to a host that is blocked here: which one, nobody is told.
    pub(super) some_blocked: bool,
}

/// Where a link leads, to be read before it is followed.
pub(super) fn preview(short_url: &str, target: &str, title: Option<&str>, others: &Others<'_>) -> Response {
    let (short_url, target) = (escape(short_url), escape(target));
    let heading = title.map(escape).unwrap_or_else(|| short_url.clone());
    let mut body = format!(
        "<p><code>{short_url}</code> leads to</p><p><code>{target}</code></p>\
         <p><a rel=\"noopener noreferrer nofollow\" href=\"{target}\">Go there</a></p>"
    );
    if !others.targets.is_empty() || others.some_blocked {
        body.push_str("<p>It may lead others, or you at another time, elsewhere:</p><ul>");
        for target in others.targets {
            let _ = write!(body, "<li><code>{}</code></li>", escape(target));
        }
        if others.some_blocked {
            body.push_str("<li>where it is blocked here</li>");
        }
        body.push_str("</ul>");
    }
    html(StatusCode::OK, page(&heading, &body))
}

/// The same of a link with so many visits: where it leads is for those who take one.
pub(super) fn limited_preview(short_url: &str, title: Option<&str>) -> Response {
    let short_url = escape(short_url);
    let heading = title.map(escape).unwrap_or_else(|| short_url.clone());
    let body = format!("<p><code>{short_url}</code> can be followed a limited number of times.</p>");
    html(StatusCode::OK, page(&heading, &body))
}

/// A link that is there, for who asks for its head and takes no visit.
pub(super) fn there() -> Response {
    html(StatusCode::OK, String::new())
}

/// A browser fetches ahead what takes a visit to be followed. It asks again when its user goes there.
pub(super) fn not_ahead() -> Response {
    html(StatusCode::FORBIDDEN, page("Not fetched ahead", "<p>This link can only be followed.</p>"))
}

pub(super) fn robots(text: Bytes) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// There is none, and browsers should not ask again for a day.
pub(super) fn favicon() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    response
}

fn retry(text: String) -> Response {
    let mut response = html(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    response
}

/// `heading` and `body` are markup: escaped already.
fn page(heading: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <title>{heading}</title><style>{STYLE}</style><h1>{heading}</h1>{body}</html>\n"
    )
}

fn html(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Safe as text and in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_texts_are_escaped() {
        assert_eq!(escape("<b a=\"x\" b='y'>&"), "&#60;b a=&#34;x&#34; b=&#39;y&#39;&#62;&#38;");
        assert_eq!(escape("grüße"), "grüße");
    }
}
