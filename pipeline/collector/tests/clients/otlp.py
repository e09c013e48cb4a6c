"""OpenTelemetry's own exporters, unmodified, against the receiver of traces.

Usage: python otlp.py HOST:PORT send grpc|http [gzip]     one trace, sent twice; prints it as JSON
       python otlp.py HOST:PORT refused                   what gRPC must refuse for good
       python otlp.py HOST:PORT away                      what gRPC must ask to send again later
Exits with status 0, or fails with the assertion that did not hold.
"""

import json
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.status import Status, StatusCode

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def spans():
    memory = InMemorySpanExporter()
    resource = Resource.create({"service.name": "web", "service.version": "1.2.3.4"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("the-scope", "7.8")
    other = trace.Link(trace.SpanContext(0x1234, 0x5678, is_remote=True), {"why": "test"})
    with tracer.start_as_current_span("GET /{code}", kind=trace.SpanKind.SERVER) as root:
        root.set_attribute("http.response.status_code", 302)
        root.set_attribute("client.address", "203.0.113.77")
        root.set_attribute("url.full", "https://user:pw@example.org/x?token=hunter2")
        root.set_attribute("http.request.header.authorization", ["Bearer hunter2"])
        with tracer.start_as_current_span("lookup", kind=trace.SpanKind.CLIENT, links=[other]) as child:
            child.add_event("cache.miss", {"tier": "l1", "cached": False})
            child.set_status(Status(StatusCode.ERROR, "connect to 203.0.113.77:6379 failed"))
    provider.shutdown()
    return memory.get_finished_spans()


def send(address, protocol, gzip):
    if protocol == "grpc":
        compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
        exporter = GrpcExporter(endpoint=f"http://{address}", insecure=True, compression=compression)
    else:
        compression = Compression.Gzip if gzip else Compression.NoCompression
        exporter = HttpExporter(endpoint=f"http://{address}/v1/traces", compression=compression)
    made = spans()
    for _ in range(2):
        assert exporter.export(made) == SpanExportResult.SUCCESS
    exporter.shutdown()
    context = lambda span: span.get_span_context()
    print(
        json.dumps(
            {
                "trace": trace.format_trace_id(context(made[0]).trace_id),
                "spans": {
                    span.name: {
                        "id": trace.format_span_id(context(span).span_id),
                        "parent": trace.format_span_id(span.parent.span_id) if span.parent else "",
                        "duration": span.end_time - span.start_time,
                    }
                    for span in made
                },
            }
        )
    )


def call(channel, payload, method=METHOD, **options):
    """The error of a call of the bytes as they are, or None."""
    identity = lambda message: message
    try:
        channel.unary_unary(method, identity, identity)(payload, timeout=60, **options)
    except grpc.RpcError as error:
        return error
    return None


def refused(address):
    good = encode_spans(spans()).SerializeToString()
    with grpc.insecure_channel(address) as channel:
        for what, payload, options in [
            ("garbage", b"\xff" * 100, {}),
            ("truncated", good[:-7], {}),
            ("large", bytes(5 << 20), {}),
            ("a bomb", bytes(64 << 20), {"compression": grpc.Compression.Gzip}),
        ]:
            error = call(channel, payload, **options)
            assert error is not None and error.code() == grpc.StatusCode.INVALID_ARGUMENT, (what, error)
        error = call(channel, good, method=METHOD.replace("Export", "Import"))
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
        error = call(channel, good, compression=grpc.Compression.Deflate)
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
        assert call(channel, good) is None


def away(address):
    good = encode_spans(spans()).SerializeToString()
    with grpc.insecure_channel(address) as channel:
        error = call(channel, good)
        assert error is not None and error.code() == grpc.StatusCode.UNAVAILABLE, error
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        status, retry = status_pb2.Status(), error_details_pb2.RetryInfo()
        status.ParseFromString(details)
        assert status.code == grpc.StatusCode.UNAVAILABLE.value[0], status
        assert status.details[0].Unpack(retry) and retry.retry_delay.seconds >= 1, status


if __name__ == "__main__":
    address, what = sys.argv[1:3]
    if what == "send":
        send(address, sys.argv[3], "gzip" in sys.argv[4:])
    else:
        {"refused": refused, "away": away}[what](address)
