//! Entity tags of links and the preconditions made with them (RFC 9110, 13.1): `If-Match` before a change, so that
//! none is lost, and `If-None-Match` for who has the document already.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::json;
use super::names::LinkName;
use super::problem::Problem;
use crate::link::{Link, LinkState};
use crate::service::App;
use emitter::Hop;

/// Tags looked at in one field: clients have one, and a few after a merge.
const TAGS_MAX: usize = 32;

/// The state that `If-Match` asks a link to have; nothing where any will do. Weak tags, and tags that are none of
/// ours, match nothing. An unknown link is answered for at once: one that is made under the name after this is not the
/// one that was meant. `document` is what the tags are of.
pub(super) async fn wanted(
    app: &App,
    hop: &Hop,
    headers: &HeaderMap,
    name: &LinkName,
    document: impl Fn(&Link) -> Value,
) -> Result<Option<LinkState>, Response> {
    let Some(states) = if_match(headers).map_err(|problem| problem.answer(hop))? else { return Ok(None) };
    let link = app.links.find(hop, name.link()).await.map_err(|error| Problem::store(hop, &error))?;
    match link {
        Some(link) if states.contains(&link.state()) => Ok(Some(link.state())),
        Some(link) => Err(conflict(hop, &link, &document(&link))),
        None => Err(name.not_found().answer(hop)),
    }
}

/// The states named by `If-Match`; nothing where any will do.
fn if_match(headers: &HeaderMap) -> Result<Option<Vec<LinkState>>, Problem> {
    let tags = tags(headers, &header::IF_MATCH)?.filter(|tags| tags.iter().all(|tag| tag.text != "*"));
    let state = |tag: &Tag<'_>| (!tag.weak).then(|| parse(tag.text)).flatten();
    Ok(tags.map(|tags| tags.iter().filter_map(state).collect()))
}

/// The document of a link with its tag. The part after the second `-` stands for what changes without an edit, counts
/// of visits for one: a client sees new ones, and yet its edits do not fail for them.
pub(super) fn answer(status: StatusCode, link: &Link, document: &Value) -> Response {
    let mut response = json::answer(status, document);
    response.headers_mut().insert(header::ETAG, tag_of(link, document));
    response
}

/// As [`answer`] with 200, or 304 where `If-None-Match` has the tag.
pub(super) fn answer_unless_known(hop: &Hop, headers: &HeaderMap, link: &Link, document: &Value) -> Response {
    let tag = tag_of(link, document);
    let known = match tags(headers, &header::IF_NONE_MATCH) {
        Ok(tags) => tags.unwrap_or_default(),
        Err(problem) => return problem.answer(hop),
    };
    // Weak comparison: `W/` makes no difference.
    let quoted = tag.to_str().unwrap_or_default();
    if !known.iter().any(|known| known.text == "*" || known.text == quoted.trim_matches('"')) {
        return answer(StatusCode::OK, link, document);
    }
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    response.headers_mut().insert(header::ETAG, tag);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The link is not in the state that was meant; with the tag that `document`, of it as it is now, has.
pub(super) fn conflict(hop: &Hop, link: &Link, document: &Value) -> Response {
    let mut response = Problem::changed_meanwhile().answer(hop);
    response.headers_mut().insert(header::ETAG, tag_of(link, document));
    response
}

fn tag_of(link: &Link, document: &Value) -> HeaderValue {
    let content = blake3::hash(document.to_string().as_bytes()).to_hex();
    let tag = format!("\"{}-{}-{}\"", link.id, link.revision, &content[..12]);
    HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn parse(tag: &str) -> Option<LinkState> {
    let mut parts = tag.split('-');
    let (id, revision) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(LinkState { id, revision })
}

/// An entity tag without its quotes; `*` for that.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    text: &'a str,
    weak: bool,
}

/// The tags of a field; nothing when it is not there.
fn tags<'a>(headers: &'a HeaderMap, field: &HeaderName) -> Result<Option<Vec<Tag<'a>>>, Problem> {
    let mut all = Vec::new();
    for value in headers.get_all(field) {
        let text = value.to_str().map_err(|_| Problem::precondition_malformed(field))?;
        let mut rest = text.trim();
        if rest == "*" {
            all.push(Tag { text: "*", weak: false });
            continue;
        }
        while !rest.is_empty() && all.len() <= TAGS_MAX {
            let (tag, after) = next(rest).ok_or_else(|| Problem::precondition_malformed(field))?;
            all.push(tag);
            rest = after;
        }
    }
    if all.len() > TAGS_MAX || (all.len() > 1 && all.iter().any(|tag| tag.text == "*")) {
        return Err(Problem::precondition_malformed(field));
    }
    if all.is_empty() && headers.contains_key(field) {
        return Err(Problem::precondition_malformed(field));
    }
    Ok(headers.contains_key(field).then_some(all))
}

/// The first tag of a list and what follows it; nothing where the list is malformed.
fn next(list: &str) -> Option<(Tag<'_>, &str)> {
    let (weak, rest) = match list.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, list),
    };
    let (text, rest) = rest.strip_prefix('"')?.split_once('"')?;
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix(',') {
        Some(rest) => rest.trim_start_matches([',', ' ', '\t']),
        None if rest.is_empty() => rest,
        None => return None,
    };
    // `*` in quotes is a tag like any other, and none of ours.
    Some((Tag { text: if text == "*" { "" } else { text }, weak }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(values: &[&str]) -> Result<Option<Vec<(i64, i64)>>, ()> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        let states = if_match(&headers).map_err(|_| ())?;
        Ok(states.map(|states| states.iter().map(|state| (state.id, state.revision)).collect()))
    }

    #[test]
    fn preconditions_are_read_as_http_has_them() {
        let these = |states: &[(i64, i64)]| Ok(Some(states.to_vec()));
        for (values, answer) in [
            (&[][..], Ok(None)),
            (&["*"], Ok(None)),
            (&["\"7-2-abc\""], these(&[(7, 2)])),
            (&["\"7-2-abc\", \"8-1-x\""], these(&[(7, 2), (8, 1)])),
            (&["\"7-2-abc\"", "\"8-1-x\""], these(&[(7, 2), (8, 1)])),
            (&["\"7-2-abc\",,"], these(&[(7, 2)])),
            (&["W/\"7-2-abc\""], these(&[])),
            (&["\"*\""], these(&[])),
            (&["\"of another server\""], these(&[])),
            (&["\"\""], these(&[])),
            (&[""], Err(())),
            (&["7-2"], Err(())),
            (&["\"7-2"], Err(())),
            (&["\"7-2\" \"8-1\""], Err(())),
            (&["*", "\"7-2\""], Err(())),
            (&["*, \"7-2\""], Err(())),
        ] {
            assert_eq!(meant(values), answer, "{values:?}");
        }
    }
}
