-- A kept event a row. The columns of the event are generated from the registry of wide-event.
-- Sorted by hour, then by how it ended: an on-call engineer asks for the failures of the last hours first.
CREATE TABLE IF NOT EXISTS requests (
${event_columns},
    sample_weight Float64 COMMENT 'How many events the row stands for: 1 over the probability with which it was kept; sum(sample_weight) estimates a count without bias' CODEC(ZSTD(1)),
    sample_reason LowCardinality(String) COMMENT 'Rule of the sampling policy that kept the row: forced, failure, slow, client_error, flood, rare, base',
    log_partition UInt32 COMMENT 'Partition of the event log that the event came from' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the message that the event came in' CODEC(Delta, ZSTD(1)),
    collected_at DateTime64(6, 'UTC') COMMENT 'When the collector took the range in; the same for a repeated range' CODEC(Delta, ZSTD(1)),
    INDEX by_request_id request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_trace_id trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_code code TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${engine:MergeTree}
PARTITION BY toDate(ts)
ORDER BY (toStartOfHour(ts), outcome, route, ts)
TTL toDateTime(ts) + toIntervalDay(${requests_ttl_days})
SETTINGS ${deduplication}, ttl_only_drop_parts = 1
COMMENT 'Kept events, weighted';
