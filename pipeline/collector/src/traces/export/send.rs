//! One request to a backend, over gRPC or HTTP, and what its answer means. Tries once, and never for longer than it is told.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use super::config::{Backend, Protocol};

/// Of an answer over HTTP: it says how many spans were refused, and why.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// How often a connection is asked whether it is there: more often than proxies forget one that is idle.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why a request did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// May pass: not before this long again, where the backend says so.
    #[error("the backend is away: {what}")]
    Away { what: String, retry_after: Option<Duration> },
    /// Will not pass.
    #[error("the backend refuses spans: {0}")]
    Refused(String),
}

/// A way to a backend.
pub(super) enum Client {
    Grpc { service: TraceServiceClient<Channel>, metadata: MetadataMap, timeout: Duration },
    Http { agent: ureq::Agent, url: String, headers: HeaderMap },
}

impl Client {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// In words, when the address is none to the transport.
    pub(super) fn new(backend: Backend) -> Result<Self, tonic::transport::Error> {
        let headers: HeaderMap = backend.headers.into_iter().collect();
        Ok(match backend.protocol {
            Protocol::Grpc => {
                let endpoint = Endpoint::from_shared(backend.url)?.connect_timeout(backend.timeout);
                // A connection that is gone without a word would fail request after request.
                let endpoint =
                    endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(backend.timeout);
                let mut endpoint = endpoint.keep_alive_while_idle(true);
                if backend.tls {
                    endpoint = endpoint.tls_config(ClientTlsConfig::new().with_webpki_roots())?;
                }
                let service = TraceServiceClient::new(endpoint.connect_lazy());
                let metadata = MetadataMap::from_headers(headers);
                Self::Grpc { service, metadata, timeout: backend.timeout }
            }
            Protocol::Http => {
                let config = ureq::Agent::config_builder().timeout_global(Some(backend.timeout));
                // Headers are for this address, and no other that it may name.
                let config = config.http_status_as_error(false).max_redirects(0);
                Self::Http { agent: config.build().new_agent(), url: backend.url, headers }
            }
        })
    }

    /// Sends once. Returns how many spans were not taken.
    pub(super) async fn send(&self, export: &ExportTraceServiceRequest) -> Result<u64, SendError> {
        match self {
            Self::Grpc { service, metadata, timeout } => {
                let request = Request::from_parts(metadata.clone(), Default::default(), export.clone());
                let mut service = service.clone();
                match tokio::time::timeout(*timeout, service.export(request)).await {
                    Ok(answer) => {
                        answer.map(|answer| rejected(&answer.into_inner())).map_err(|e| of_status(&e))
                    }
                    Err(_) => Err(away("no answer in time", None)),
                }
            }
            Self::Http { agent, url, headers } => {
                let (agent, url, headers) = (agent.clone(), url.clone(), headers.clone());
                let body = export.encode_to_vec();
                let sent = tokio::task::spawn_blocking(move || post(&agent, &url, headers, &body)).await;
                sent.unwrap_or_else(|_| Err(SendError::Refused("sending them broke".to_owned())))
            }
        }
    }
}

fn post(agent: &ureq::Agent, url: &str, headers: HeaderMap, body: &[u8]) -> Result<u64, SendError> {
    let mut request = agent.post(url).header(CONTENT_TYPE, "application/x-protobuf");
    if let Some(all) = request.headers_mut() {
        all.extend(headers);
    }
    // The error names what is wrong with the connection, and no header.
    let mut answer = request.send(body).map_err(|error| away(&error.to_string(), None))?;
    let status = answer.status();
    if status.is_success() {
        let read = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        // It has taken them, whatever it says beside that.
        let answer = read.ok().and_then(|body| ExportTraceServiceResponse::decode(&*body).ok());
        return Ok(answer.as_ref().map_or(0, rejected));
    }
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    match status.as_u16() {
        // As OTLP says.
        429 | 502..=504 => Err(away(&status.to_string(), seconds.map(Duration::from_secs))),
        _ => Err(SendError::Refused(status.to_string())),
    }
}

/// As OTLP says. The message is the backend's, and may repeat what it was sent.
fn of_status(status: &tonic::Status) -> SendError {
    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let what = format!("{:?}", status.code());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => away(&what, retry_after),
        Code::ResourceExhausted if retry_after.is_some() => away(&what, retry_after),
        // Of tonic itself, when there is no connection.
        Code::Unknown if std::error::Error::source(status).is_some() => away("no connection", None),
        _ => SendError::Refused(what),
    }
}

fn away(what: &str, retry_after: Option<Duration>) -> SendError {
    SendError::Away { what: what.to_owned(), retry_after }
}

fn rejected(answer: &ExportTraceServiceResponse) -> u64 {
    let rejected = answer.partial_success.as_ref().map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}
