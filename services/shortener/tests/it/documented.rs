//! Every answer that a test gets, held against the OpenAPI document: status, type of content, type of problem, headers.
//! So neither can change without the other. Methods and paths that the document does not have are not looked at, and
//! neither are bodies beside problems: schemathesis does that (`services/hoplog/tests/schemathesis`).

use std::sync::LazyLock;

use http::Method;
use serde_json::Value;

use crate::server::Answer;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap());

/// Headers that an answer has only where the document says so.
const HEADERS: [&str; 9] = [
    "content-security-policy",
    "etag",
    "idempotency-replayed",
    "link",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-request-id",
];

/// Fails where an answer is not what the document says.
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    let name = if method == Method::HEAD { "get" } else { &method.as_str().to_lowercase() };
    let Some(operation) = operation(name, path.split('?').next().unwrap()) else { return };
    let status = answer.status.as_u16();
    let what = format!("{method} {path}: {status}");
    let documented = resolved(&operation["responses"][status.to_string()]);
    assert!(documented.is_object(), "{what} is not documented: {}", String::from_utf8_lossy(&answer.body));
    check_headers(&what, documented, answer);
    let Some(contents) = documented["content"].as_object() else {
        assert!(answer.body.is_empty(), "{what} has a body");
        return;
    };
    let kind = answer.header("content-type").split(';').next().unwrap();
    let Some(content) = contents.get(kind) else { panic!("{what}: {kind} is not documented") };
    if kind == "application/problem+json" && !answer.body.is_empty() {
        let types = content.pointer("/schema/allOf/1/properties/type/enum").and_then(Value::as_array);
        let problem = answer.json();
        assert!(types.is_some_and(|types| types.contains(&problem["type"])), "{what}: {problem}");
    }
}

fn check_headers(what: &str, documented: &'static Value, answer: &Answer) {
    let headers = documented["headers"].as_object().unwrap();
    for (name, header) in headers {
        let required = resolved(header)["required"] == true;
        assert!(!required || answer.headers.contains_key(name), "{what} has no {name}");
    }
    for name in HEADERS.iter().filter(|name| answer.headers.contains_key(**name)) {
        let known = headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        assert!(known, "{what} has {name}, which is not documented");
    }
}

/// The operation of a path: of those that match, the one with the fewest parameters.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let items = DOCUMENT["paths"].as_object().unwrap();
    let matching =
        items.iter().filter(|(template, item)| item.get(method).is_some() && matches(template, path));
    matching.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, item)| &item[method])
}

fn matches(template: &str, path: &str) -> bool {
    let (parts, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(part, given): (&&str, &&str)| {
        if part.starts_with('{') { !given.is_empty() } else { part == given }
    };
    parts.len() == given.len() && parts.iter().zip(&given).all(fits)
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}
