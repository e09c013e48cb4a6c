-- Sequence numbers of 100 % of the events that could be read, as runs: gaps and repetitions follow exactly.
CREATE TABLE IF NOT EXISTS producer_sequences (
    service LowCardinality(String) COMMENT 'Service of the producer',
    instance LowCardinality(String) COMMENT 'Instance of the producer',
    boot_id LowCardinality(String) COMMENT 'Boot of the producer',
    first_seq UInt64 COMMENT 'First number of a run without gaps' CODEC(Delta, ZSTD(1)),
    last_seq UInt64 COMMENT 'Last number of the run, inclusive' CODEC(Delta, ZSTD(1)),
    log_partition UInt32 COMMENT 'Partition of the event log that the run came in' CODEC(ZSTD(1)),
    range_offset UInt64 COMMENT 'First offset of the range that the run came in' CODEC(Delta, ZSTD(1)),
    collected_at DateTime64(6, 'UTC') COMMENT 'When the collector took the range in' CODEC(Delta, ZSTD(1))
)
ENGINE = ${engine:MergeTree}
PARTITION BY toYYYYMM(collected_at)
ORDER BY (service, instance, boot_id, first_seq)
TTL toDateTime(collected_at) + toIntervalDay(${requests_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Runs of event numbers that arrived';

CREATE TABLE IF NOT EXISTS producer_boots (
    ts DateTime64(6, 'UTC') COMMENT 'When the next boot, or the end of this one, said so' CODEC(Delta, ZSTD(1)),
    service LowCardinality(String) COMMENT 'Service of the producer',
    instance LowCardinality(String) COMMENT 'Instance of the producer',
    boot_id LowCardinality(String) COMMENT 'The boot that ended',
    issued UInt64 COMMENT 'Highest event number that it gave out' CODEC(ZSTD(1)),
    clean Bool COMMENT 'Whether it ended in good order; false after a crash or a kill',
    log_partition UInt32 COMMENT 'Partition of the event log that the record came in' CODEC(ZSTD(1)),
    log_offset UInt64 COMMENT 'Offset of the message' CODEC(Delta, ZSTD(1)),
    collected_at DateTime64(6, 'UTC') COMMENT 'When the collector took the range in' CODEC(Delta, ZSTD(1))
)
ENGINE = ${engine:MergeTree}
PARTITION BY toYYYYMM(collected_at)
ORDER BY (service, instance, boot_id)
TTL toDateTime(collected_at) + toIntervalDay(${requests_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Boots that have ended, and how many events each had';

CREATE TABLE IF NOT EXISTS sampling_policies (
    version String COMMENT 'Hash of the text; requests are kept under the version that the ledger names' CODEC(ZSTD(1)),
    text String COMMENT 'The policy, TOML' CODEC(ZSTD(1)),
    activated_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When a collector first used it' CODEC(ZSTD(1))
)
ENGINE = ${engine:ReplacingMergeTree}
ORDER BY version
COMMENT 'Sampling policies that were ever in force, so that each weight can be explained';
