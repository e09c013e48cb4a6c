-- What makes loss and repetition visible.
CREATE TABLE IF NOT EXISTS ingest_ledger (
    topic LowCardinality(String) COMMENT 'Topic of the event log',
    log_partition UInt32 COMMENT 'Partition of the event log' CODEC(ZSTD(1)),
    first_offset UInt64 COMMENT 'Offset of the first message of the range' CODEC(Delta, ZSTD(1)),
    last_offset UInt64 COMMENT 'Offset of its last message, inclusive' CODEC(Delta, ZSTD(1)),
    messages UInt64 COMMENT 'Messages in the range' CODEC(T64, ZSTD(1)),
    events UInt64 COMMENT 'Events in them: kept + sampled_out + dead_lettered' CODEC(T64, ZSTD(1)),
    events_announced UInt64 COMMENT 'Events that the producers said are in them' CODEC(T64, ZSTD(1)),
    kept UInt64 COMMENT 'Rows in requests' CODEC(T64, ZSTD(1)),
    sampled_out UInt64 COMMENT 'Events that only the rollups count' CODEC(T64, ZSTD(1)),
    dead_lettered UInt64 COMMENT 'Events in dead_letters' CODEC(T64, ZSTD(1)),
    clicks UInt64 COMMENT 'Clicks counted in clicks_by_hour' CODEC(T64, ZSTD(1)),
    click_rows UInt64 COMMENT 'Rows in clicks; 0 where single clicks are switched off' CODEC(T64, ZSTD(1)),
    boot_records UInt64 COMMENT 'Rows in producer_boots; no events' CODEC(T64, ZSTD(1)),
    policy_version LowCardinality(String) COMMENT 'Sampling policy in force, see sampling_policies',
    collected_at DateTime64(6, 'UTC') COMMENT 'When the collector took the range in' CODEC(Delta, ZSTD(1))
)
ENGINE = ${engine:MergeTree}
PARTITION BY toYYYYMM(collected_at)
ORDER BY (topic, log_partition, first_offset)
TTL toDateTime(collected_at) + toIntervalDay(${rollups_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Consumed ranges of the event log: nothing unaccounted';

CREATE TABLE IF NOT EXISTS dead_letters (
    topic LowCardinality(String) COMMENT 'Topic of the event log',
    log_partition UInt32 COMMENT 'Partition of the event log' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the message' CODEC(Delta, ZSTD(1)),
    line UInt32 COMMENT 'Line within the message, from 1; 0 where the row is about the message as a whole' CODEC(ZSTD(1)),
    events UInt64 COMMENT 'How many events the row stands for: 1 for a line, 0 for what is no event' CODEC(T64, ZSTD(1)),
    reason LowCardinality(String) COMMENT 'Why it could not be stored, as a symbol',
    detail String COMMENT 'Why, for people' CODEC(ZSTD(1)),
    schema LowCardinality(String) COMMENT 'Header `schema` of the message',
    content_type LowCardinality(String) COMMENT 'Header `content-type` of the message',
    raw String COMMENT 'The bytes as they came, whole' CODEC(ZSTD(1)),
    appended_at DateTime64(6, 'UTC') COMMENT 'When the message was appended to the event log' CODEC(Delta, ZSTD(1)),
    collected_at DateTime64(6, 'UTC') COMMENT 'When the collector took the range in' CODEC(Delta, ZSTD(1))
)
ENGINE = ${engine:MergeTree}
PARTITION BY toYYYYMM(collected_at)
ORDER BY (topic, log_partition, log_offset, line)
TTL toDateTime(collected_at) + toIntervalDay(${requests_ttl_days})
SETTINGS ${deduplication}
COMMENT 'What could not be stored, raw, with reason and origin';
