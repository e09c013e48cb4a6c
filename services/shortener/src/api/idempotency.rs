//! `Idempotency-Key` of requests that create (draft-ietf-httpapi-idempotency-key-header): what the header says, and what
//! tells one request from another. That each has its effect once is [`crate::links`]' doing.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::keys::ApiKey;
use crate::links::Once;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an earlier try of the request is answered for.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key, in bytes. Clients send UUIDs.
const KEY_BYTES_MAX: usize = 255;

/// What makes a request happen once; nothing where it has no key. `what` is requested, so that a key serves one route.
pub(super) fn once(
    headers: &HeaderMap,
    caller: Option<&ApiKey>,
    what: &'static str,
    payload: &Map<String, Value>,
) -> Result<Option<Once>, Problem> {
    // Objects are sorted by name, so order and space make no difference.
    let payload = || serde_json::to_vec(payload).unwrap_or_default();
    Ok(key(headers)?.map(|key| once_of(key, caller, what, &payload())))
}

/// The same where each byte of the payload makes a difference.
pub(super) fn once_of_bytes(
    headers: &HeaderMap,
    caller: Option<&ApiKey>,
    what: &'static str,
    payload: &[u8],
) -> Result<Option<Once>, Problem> {
    Ok(key(headers)?.map(|key| once_of(key, caller, what, payload)))
}

fn once_of(key: &str, caller: Option<&ApiKey>, what: &'static str, payload: &[u8]) -> Once {
    let mut hasher = blake3::Hasher::new_derive_key("hoplog idempotency v1");
    hasher.update(what.as_bytes()).update(&[0]).update(payload);
    Once {
        owner: caller.map(|key| key.owner.clone()).unwrap_or_default(),
        key: key.to_owned(),
        payload: *hasher.finalize().as_bytes(),
    }
}

/// The key of a request.
fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let key = key.to_str().map_err(|_| Problem::idempotency_key_malformed())?;
    let possible =
        !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.bytes().all(|byte| byte.is_ascii_graphic());
    if possible && given.next().is_none() { Ok(Some(key)) } else { Err(Problem::idempotency_key_malformed()) }
}

/// Marks an answer that is given again.
pub(super) fn mark(mut response: Response, replayed: bool) -> Response {
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_visible_value() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for (values, right) in [
            (&["8e03978e-40d5-43e8-bc93-6894a57f9324"][..], true),
            (&["\"quoted\""], true),
            (&[""], false),
            (&["a b"], false),
            (&["a", "b"], false),
            (&[&long], false),
            (&[&long[1..]], true),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(KEY, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(
                once(&headers, None, "x", &Map::new()).is_ok_and(|once| once.is_some()),
                right,
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_payload_is_the_same_however_it_is_written() {
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_static("k"));
        let payload = |what, text: &str| {
            once(&headers, None, what, &serde_json::from_str(text).unwrap()).unwrap().unwrap().payload
        };
        assert_eq!(payload("a", r#"{"x":1,"y":[2]}"#), payload("a", r#"{ "y": [2], "x": 1 }"#));
        assert_ne!(payload("a", r#"{"x":1}"#), payload("a", r#"{"x":2}"#));
        assert_ne!(payload("a", r#"{"x":1}"#), payload("b", r#"{"x":1}"#));
    }
}
