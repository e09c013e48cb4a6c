-- Dead letters that go back into the event log, and ranges that know which of their events came that way.
ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS replayed UInt64 DEFAULT 0 COMMENT 'Of the events, replayed from dead letters whose numbers were counted when they first came' CODEC(T64, ZSTD(1)) AFTER dead_lettered;

ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS purged Bool DEFAULT false COMMENT 'Whether bytes and detail were blanked; the row stays, so that the ledger balances';

-- Rows of one range have one time, and ranges that are near in time are near on the disk: the last hour is found without
-- reading the rest, so that it can be compared all the time.
ALTER TABLE requests ADD INDEX IF NOT EXISTS by_collected_at collected_at TYPE minmax GRANULARITY 1;
ALTER TABLE ingest_ledger ADD INDEX IF NOT EXISTS by_collected_at collected_at TYPE minmax GRANULARITY 1;
ALTER TABLE producer_sequences ADD INDEX IF NOT EXISTS by_collected_at collected_at TYPE minmax GRANULARITY 1;

-- Appended to, never changed: an attempt is a row when it begins and a row when it is done.
CREATE TABLE IF NOT EXISTS dead_letter_replays (
    topic LowCardinality(String) COMMENT 'Topic of the dead letter',
    log_partition UInt32 COMMENT 'Partition of the dead letter' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the dead letter' CODEC(Delta, ZSTD(1)),
    line UInt32 COMMENT 'Line of the dead letter' CODEC(ZSTD(1)),
    attempt String COMMENT 'Tells attempts apart' CODEC(ZSTD(1)),
    state LowCardinality(String) COMMENT 'begun: about to be appended to the event log; done: it is there',
    operator String COMMENT 'Who did it' CODEC(ZSTD(1)),
    replayed_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When' CODEC(Delta, ZSTD(1))
)
ENGINE = ${engine:MergeTree}
ORDER BY (topic, log_partition, log_offset, line, replayed_at)
TTL toDateTime(replayed_at) + toIntervalDay(${requests_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Attempts to put dead letters back into the event log';
