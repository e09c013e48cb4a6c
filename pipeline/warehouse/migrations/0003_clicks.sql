-- One narrow row a click. Time in seconds and dictionary columns: what is left is mostly the visitor's hash.
CREATE TABLE IF NOT EXISTS clicks (
    ts DateTime('UTC') COMMENT 'When the click was made, to the second' CODEC(Delta, ZSTD(1)),
    code String COMMENT 'Short code that was clicked' CODEC(ZSTD(1)),
    link_version UInt32 COMMENT 'Version of the destination that was served' CODEC(T64, ZSTD(1)),
    visitor UInt64 COMMENT 'Tells visitors apart within one day only; 0 where it is not known' CODEC(ZSTD(1)),
    country LowCardinality(String) COMMENT 'Country as ISO 3166-1 alpha-2',
    device LowCardinality(String) COMMENT 'desktop, mobile, appliance or empty',
    browser LowCardinality(String) COMMENT 'Family of the browser',
    os LowCardinality(String) COMMENT 'Family of the operating system',
    referrer_host LowCardinality(String) COMMENT 'Host of the Referer header',
    bot Bool COMMENT 'Whether a rule says that no person clicked',
    bot_reason LowCardinality(String) COMMENT 'The rule that said so'
)
ENGINE = ${engine:MergeTree}
PARTITION BY toYYYYMM(ts)
ORDER BY (code, ts)
TTL ts + toIntervalDay(${clicks_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Clicks, exact, one a row';

-- The visitors of an hour arrive as plain numbers and are stored as a mergeable state: a function of the row alone,
-- so one block in is one block stored, and its token deduplicates it.
--
-- A link has some hundred rows a month, and a question about a thousand links reads a place of each, in each part. So granules
-- and blocks are small, and the index has what finds a link, and no more. How they are packed: 0013.
CREATE TABLE IF NOT EXISTS clicks_by_hour (
    hour DateTime('UTC') COMMENT 'Start of the hour of the clicks' CODEC(Delta, ZSTD(1)),
    code String COMMENT 'Short code that was clicked' CODEC(ZSTD(1)),
    bot Bool COMMENT 'Whether a rule says that no person clicked',
    clicks SimpleAggregateFunction(sum, UInt64) COMMENT 'Exact number of clicks' CODEC(T64, ZSTD(1)),
    visitor_list Array(UInt64) EPHEMERAL COMMENT 'Visitors'' hashes as they arrive; not stored',
    visitors AggregateFunction(uniq, UInt64) DEFAULT arrayReduce('uniqState', visitor_list) COMMENT 'Distinct visitors: read with uniqMerge(visitors); hashes change daily, so days add up' CODEC(ZSTD(1))
)
ENGINE = ${engine:AggregatingMergeTree}
PARTITION BY toYYYYMM(hour)
PRIMARY KEY code
ORDER BY (code, hour, bot)
TTL hour + toIntervalDay(${rollups_ttl_days})
SETTINGS ${deduplication}, index_granularity = 512, min_compress_block_size = 4096
COMMENT 'Clicks by hour, exact, from 100 percent of events';
