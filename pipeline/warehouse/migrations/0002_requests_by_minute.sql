-- Exact, from all events before sampling. AggregatingMergeTree with simple functions: plain sum(requests) is right
-- whether parts have been merged or not.
CREATE TABLE IF NOT EXISTS requests_by_minute (
    minute DateTime('UTC') COMMENT 'Start of the minute of the event''s own time' CODEC(Delta, ZSTD(1)),
    service LowCardinality(String) COMMENT 'The service that answered',
    instance LowCardinality(String) COMMENT 'The process that answered',
    version LowCardinality(String) COMMENT 'Its version',
    method LowCardinality(String) COMMENT 'Request method',
    route LowCardinality(String) COMMENT 'Template of the matched route; `other` where a range had more series than fit',
    status UInt16 COMMENT 'HTTP status' CODEC(ZSTD(1)),
    outcome LowCardinality(String) COMMENT 'How the hops ended',
    cache LowCardinality(String) COMMENT 'Tier that answered the look-up',
    synthetic Bool COMMENT 'Whether hoplog''s own probe asked',
    requests SimpleAggregateFunction(sum, UInt64) COMMENT 'Exact number of events' CODEC(T64, ZSTD(1)),
    duration_us_sum SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of their durations in microseconds' CODEC(ZSTD(1)),
    latency_us SimpleAggregateFunction(sumMap, Map(UInt32, UInt64)) COMMENT 'Histogram of durations: inclusive upper bound of the bucket in microseconds to number of events; eight buckets an octave, so a bound is at most 12.5 percent off; the last is 4294967295' CODEC(ZSTD(1))
)
ENGINE = ${engine:AggregatingMergeTree}
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, service, route, method, status, outcome, cache, version, instance, synthetic)
TTL minute + toIntervalDay(${rollups_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Requests by minute, exact, from 100 percent of events';
