-- Spans, in the layout of the OpenTelemetry collector's ClickHouse exporter: names, types, order and indexes are its own, so
-- that Grafana and HyperDX show a trace without being told anything. Nested columns are written out, each with its comment.
CREATE TABLE IF NOT EXISTS otel_traces (
    Timestamp DateTime64(9) COMMENT 'When the span began' CODEC(Delta(8), ZSTD(1)),
    TraceId String COMMENT 'Id of the trace, 32 lower-case hex digits; requests.trace_id of a kept event' CODEC(ZSTD(1)),
    SpanId String COMMENT 'Id of the span, 16 lower-case hex digits' CODEC(ZSTD(1)),
    ParentSpanId String COMMENT 'Id of the span that it is part of; empty for the first one of a trace' CODEC(ZSTD(1)),
    TraceState String COMMENT 'W3C tracestate' CODEC(ZSTD(1)),
    SpanName LowCardinality(String) COMMENT 'What was done; queries are cut off' CODEC(ZSTD(1)),
    SpanKind LowCardinality(String) COMMENT 'Unspecified, Internal, Server, Client, Producer, Consumer' CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) COMMENT 'Resource attribute service.name' CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) COMMENT 'What the process says of itself, without secrets and whole addresses' CODEC(ZSTD(1)),
    ScopeName String COMMENT 'Library that made the span' CODEC(ZSTD(1)),
    ScopeVersion String COMMENT 'Its version' CODEC(ZSTD(1)),
    SpanAttributes Map(LowCardinality(String), String) COMMENT 'Attributes, without secrets, whole addresses and queries' CODEC(ZSTD(1)),
    Duration UInt64 COMMENT 'From begin to end, nanoseconds' CODEC(T64, ZSTD(1)),
    StatusCode LowCardinality(String) COMMENT 'Unset, Ok, Error' CODEC(ZSTD(1)),
    StatusMessage String COMMENT 'What went wrong, without whole addresses and queries' CODEC(ZSTD(1)),
    `Events.Timestamp` Array(DateTime64(9)) COMMENT 'Events of the span: when' CODEC(ZSTD(1)),
    `Events.Name` Array(LowCardinality(String)) COMMENT 'Events of the span: what' CODEC(ZSTD(1)),
    `Events.Attributes` Array(Map(LowCardinality(String), String)) COMMENT 'Events of the span: attributes' CODEC(ZSTD(1)),
    `Links.TraceId` Array(String) COMMENT 'Spans that it is linked to: trace' CODEC(ZSTD(1)),
    `Links.SpanId` Array(String) COMMENT 'Spans that it is linked to: span' CODEC(ZSTD(1)),
    `Links.TraceState` Array(String) COMMENT 'Spans that it is linked to: W3C tracestate' CODEC(ZSTD(1)),
    `Links.Attributes` Array(Map(LowCardinality(String), String)) COMMENT 'Spans that it is linked to: attributes of the link' CODEC(ZSTD(1)),
    ResourceAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(ResourceAttributes, 'Array(Tuple(String, String))')) COMMENT 'ResourceAttributes as key=value; not stored',
    SpanAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(SpanAttributes, 'Array(Tuple(String, String))')) COMMENT 'SpanAttributes as key=value; not stored',
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1,
    INDEX idx_lower_span_name lower(SpanName) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8
)
ENGINE = ${engine:MergeTree}
PARTITION BY toDate(Timestamp)
PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp))
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)
TTL toDateTime(Timestamp) + toIntervalDay(${traces_ttl_days})
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Spans, in the layout of OpenTelemetry''s exporter';

-- Where in time a trace is, so that it is found by its id without looking at every day.
CREATE TABLE IF NOT EXISTS otel_traces_trace_id_ts (
    TraceId String COMMENT 'Id of the trace' CODEC(ZSTD(1)),
    Start SimpleAggregateFunction(min, DateTime) COMMENT 'When its first span began' CODEC(ZSTD(1)),
    End SimpleAggregateFunction(max, DateTime) COMMENT 'When its last span began' CODEC(ZSTD(1))
)
ENGINE = ${engine:AggregatingMergeTree}
PARTITION BY toStartOfWeek(Start)
ORDER BY TraceId
TTL Start + toIntervalDay(${traces_ttl_days})
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Where in time traces are';

CREATE MATERIALIZED VIEW IF NOT EXISTS otel_traces_trace_id_ts_mv TO ${local:otel_traces_trace_id_ts} AS
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End
FROM ${local:otel_traces}
WHERE TraceId != ''
GROUP BY TraceId;
