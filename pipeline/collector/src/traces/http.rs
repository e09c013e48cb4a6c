//! OTLP over HTTP: `POST /v1/traces`, Protobuf or JSON, gzip or not, and answers in the form of the question; what is refused
//! is said in a `google.rpc.Status`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde_json::json;
use tonic::body::Body;
use tonic_types::Status;

use super::body::Arriving;
use super::grpc;
use super::receive::{Format, Receiver, Refusal};

/// The one path.
pub(super) const PATH: &str = "/v1/traces";

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Answers a request for [`PATH`].
pub(super) async fn call(receiver: Arc<Receiver>, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let format = format(request.headers());
    match export(receiver, request, format).await {
        Ok(response) => taken(&response, format.unwrap_or(Format::Protobuf)),
        Err(refusal) => refused(&refusal, format.unwrap_or(Format::Protobuf)),
    }
}

/// An answer without words.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

async fn export(
    receiver: Arc<Receiver>,
    request: Request<Incoming>,
    format: Option<Format>,
) -> Result<ExportTraceServiceResponse, Refusal> {
    let Some(format) = format else {
        return Err(Refusal::Unsupported(format!("the content type must be {PROTOBUF} or {JSON}")));
    };
    let gzip = match request.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => return Err(Refusal::Unsupported("the content encoding must be gzip or none".to_owned())),
    };
    let place = receiver.admit()?;
    let body = Arriving::new(request.into_body(), place);
    let body = body.read(gzip, receiver.config.body_bytes_max()).await?;
    receiver.export(format, body).await
}

fn format(headers: &HeaderMap) -> Option<Format> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    match media_type {
        _ if media_type.eq_ignore_ascii_case(PROTOBUF) => Some(Format::Protobuf),
        _ if media_type.eq_ignore_ascii_case(JSON) => Some(Format::Json),
        _ => None,
    }
}

fn taken(response: &ExportTraceServiceResponse, format: Format) -> Response<Body> {
    let body = match (format, &response.partial_success) {
        (Format::Protobuf, _) => response.encode_to_vec(),
        (Format::Json, None) => b"{}".to_vec(),
        // Numbers of 64 bits are texts in Protobuf's JSON.
        (Format::Json, Some(partial)) => json!({"partialSuccess": {
            "rejectedSpans": partial.rejected_spans.to_string(),
            "errorMessage": partial.error_message,
        }})
        .to_string()
        .into_bytes(),
    };
    answer(StatusCode::OK, body, format)
}

fn refused(refusal: &Refusal, format: Format) -> Response<Body> {
    let status = match refusal {
        Refusal::Malformed(_) | Refusal::Refused(_) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge(_) | Refusal::RowsTooLarge(_) | Refusal::MessagesTooLarge(_) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Full | Refusal::Away(_) | Refusal::Late => StatusCode::SERVICE_UNAVAILABLE,
    };
    let (code, message) = (i32::from(grpc::status(refusal).code()), refusal.to_string());
    let body = match format {
        Format::Protobuf => Status { code, message, details: Vec::new() }.encode_to_vec(),
        Format::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
    };
    let mut response = answer(status, body, format);
    if let Some(after) = refusal.retry_after() {
        // Whole seconds, and not before it is worth it.
        let seconds = after.as_millis().div_ceil(1000).to_string();
        if let Ok(seconds) = HeaderValue::from_str(&seconds) {
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
    }
    response
}

fn answer(status: StatusCode, body: Vec<u8>, format: Format) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    let content_type = if format == Format::Json { JSON } else { PROTOBUF };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
