-- All that a link was ever clicked, side by side. The other rollups are cut by month, so a question about a thousand links
-- is one about a thousand places of each month; here it is one about a thousand places. Ranges from before there was this
-- table are not in it: the ledger says which they are, and who reads asks for links only that are younger than these.
ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS link_clicks UInt64 DEFAULT 0 COMMENT 'Clicks counted in clicks_by_link; 0 of ranges from before there was that' CODEC(T64, ZSTD(1)) AFTER day_clicks;

-- Such a place is read whole, with what lies beside it: so it is made small. Granules and blocks are, dictionaries are where
-- they are few, and what is asked for together lies together: sums of all links, their days, what their clicks came from.
CREATE TABLE IF NOT EXISTS clicks_by_link (
    kind Enum8('all' = 1, 'day' = 2, 'value' = 3) DEFAULT if(dimension IN ('all', 'day'), toString(dimension), 'value') COMMENT 'What is counted: clicks of a year, clicks of a day, clicks of a year by value; each click counts once under the first two',
    code String COMMENT 'Short code that was clicked' CODEC(LZ4),
    dimension Enum8('all' = 1, 'day' = 2, 'country' = 3, 'device' = 4, 'browser' = 5, 'os' = 6, 'referrer_host' = 7) COMMENT 'As kind; or what value is of, and each click counts once under each',
    since Date DEFAULT if(dimension = 'day', toDate(first), toStartOfYear(first)) COMMENT 'First day of the year, or the day; UTC' CODEC(LZ4),
    value LowCardinality(String) COMMENT 'As in clicks_by_day; empty unless kind is value',
    bot Bool COMMENT 'Whether a rule says that no person clicked',
    domain String COMMENT 'Domain that was asked; empty for the default one' CODEC(LZ4),
    first SimpleAggregateFunction(min, DateTime('UTC')) COMMENT 'Start of the hour of the first of the clicks; of kind value, of its day' CODEC(LZ4),
    clicks SimpleAggregateFunction(sum, UInt64) COMMENT 'Exact number of clicks' CODEC(T64, LZ4)
)
ENGINE = ${engine:AggregatingMergeTree}
PRIMARY KEY (kind, code)
ORDER BY (kind, code, dimension, since, value, bot, domain)
TTL toStartOfYear(since) + toIntervalYear(1) + toIntervalDay(${rollups_ttl_days})
SETTINGS ${deduplication}, index_granularity = 512, min_compress_block_size = 4096
COMMENT 'Clicks of a link by year and what they came from, and by day, exact, from 100 percent of events';
