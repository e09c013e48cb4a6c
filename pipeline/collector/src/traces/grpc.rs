//! OTLP over gRPC: `TraceService/Export`, by tonic's server for one call. Messages pass as bytes, since an export is known by
//! them, and read where those that come over HTTP are.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use http::{Request, Response};
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::body::Arriving;
use super::receive::{Format, Receiver, Refusal};

/// The one method.
pub(super) const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Answers a call.
pub(super) async fn call(receiver: Arc<Receiver>, request: Request<Arriving>) -> Response<Body> {
    let mut grpc = Grpc::new(Raw)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(receiver.config.body_bytes_max());
    let response = grpc.unary(Export(receiver), request).await;
    // tonic calls a message that can't be read its own fault, and an exporter would not know whose it is.
    match response.extensions().get::<Status>() {
        Some(status) if is_messages_fault(status.code()) => {
            Status::invalid_argument(status.message()).into_http()
        }
        _ => response,
    }
}

/// Codes that tonic has for a message that is too large, packed or not, or no message; no answer of ours has them.
const fn is_messages_fault(code: Code) -> bool {
    matches!(code, Code::Internal | Code::Unknown | Code::OutOfRange | Code::ResourceExhausted)
}

/// A refusal before the message was read.
pub(super) fn refuse(refusal: &Refusal) -> Response<Body> {
    status(refusal).into_http()
}

/// The same for a method that is not ours.
pub(super) fn unknown_method() -> Response<Body> {
    Status::unimplemented("only spans are received here").into_http()
}

/// With the time of the next try, where there is to be one.
pub(super) fn status(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match (refusal, refusal.retry_after()) {
        (_, Some(after)) => {
            Status::with_error_details(Code::Unavailable, message, ErrorDetails::with_retry_info(Some(after)))
        }
        (Refusal::TooSlow, None) => Status::deadline_exceeded(message),
        (_, None) => Status::invalid_argument(message),
    }
}

struct Export(Arc<Receiver>);

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let receiver = Arc::clone(&self.0);
        Box::pin(async move {
            match receiver.export(Format::Protobuf, request.into_inner()).await {
                Ok(response) => Ok(tonic::Response::new(response.encode_to_vec().into())),
                Err(refusal) => Err(status(&refusal)),
            }
        })
    }
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
