//! JSON bodies in and out, within a size and a time.
//! What the fields mean is not known here.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::config::LimitsConfig;

/// The object in a body. An empty body is an empty object, as in Shlink: what is missing is named by its field.
pub(super) async fn object(request: Request, limits: &LimitsConfig) -> Result<Map<String, Value>, Problem> {
    object_within(request, limits, limits.body_bytes_max).await
}

/// The same with a size of its own.
pub(super) async fn object_within(
    request: Request,
    limits: &LimitsConfig,
    bytes_max: usize,
) -> Result<Map<String, Value>, Problem> {
    let bytes = read(request.into_body(), limits, bytes_max).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::malformed_body("body_no_object", "The body is not a JSON object.")),
        // Where, and not what: the text of the error repeats no input, but line and column are all that helps.
        Err(error) => Err(Problem::malformed_body(
            "body_no_json",
            &format!(
                "Provided request does not contain a valid JSON body (line {}, column {}).",
                error.line(),
                error.column()
            ),
        )),
    }
}

/// All of a body.
pub(super) async fn read(body: Body, limits: &LimitsConfig, bytes_max: usize) -> Result<Bytes, Problem> {
    let deadline = Duration::from_millis(limits.body_read_ms_max);
    match tokio::time::timeout(deadline, Limited::new(body, bytes_max).collect()).await {
        Err(_) => Err(Problem::body_too_slow()),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::body_too_large(bytes_max)),
        Ok(Err(_)) => Err(Problem::malformed_body("body_incomplete", "The body is incomplete.")),
    }
}

pub(super) fn answer(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
