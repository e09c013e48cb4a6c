-- Visits: clicks, and orphan visits, which asked for what is no link. Counts of them by hour and by day that need not be
-- read a code at a time, counts of a link's clicks by day that need not be read a click at a time, and domains.
ALTER TABLE clicks ADD COLUMN IF NOT EXISTS domain LowCardinality(String) COMMENT 'Domain that was asked; empty for the default one' AFTER code,
    ADD COLUMN IF NOT EXISTS rule UInt8 COMMENT 'Place of the redirect rule that chose the destination, from 1; 0 where none did' CODEC(T64, ZSTD(1)) AFTER link_version;

-- In one statement: a sorting key is extended by a column only while that is added, since then no row can be out of order.
ALTER TABLE clicks_by_hour ADD COLUMN IF NOT EXISTS domain LowCardinality(String) COMMENT 'Domain that was asked; empty for the default one' AFTER bot, MODIFY ORDER BY (code, hour, bot, domain);

ALTER TABLE ingest_ledger ADD COLUMN IF NOT EXISTS visits UInt64 DEFAULT 0 COMMENT 'Clicks and orphan visits counted in visits_by_hour, and in visits_by_day once a dimension; 0 of ranges from before there were these' CODEC(T64, ZSTD(1)) AFTER click_rows,
    ADD COLUMN IF NOT EXISTS orphan_rows UInt64 DEFAULT 0 COMMENT 'Rows in orphan_visits; 0 where single clicks are switched off' CODEC(T64, ZSTD(1)) AFTER visits,
    ADD COLUMN IF NOT EXISTS day_clicks UInt64 DEFAULT 0 COMMENT 'Clicks counted in clicks_by_day, once a dimension; 0 where that is switched off' CODEC(T64, ZSTD(1)) AFTER orphan_rows;

-- What a link's clicks came from, without the clicks: a link has some hundred rows a month, and never more than there are
-- values in a day, however often it is clicked. Granules, blocks and index are as those of clicks_by_hour, for the same reason.
CREATE TABLE IF NOT EXISTS clicks_by_day (
    day Date COMMENT 'Day of the clicks, UTC' CODEC(Delta, ZSTD(1)),
    domain LowCardinality(String) COMMENT 'Domain that was asked; empty for the default one',
    code String COMMENT 'Short code that was clicked' CODEC(ZSTD(1)),
    dimension LowCardinality(String) COMMENT 'What value is of: country, device, browser, os, referrer_host; each click counts once under each',
    value LowCardinality(String) COMMENT 'As in clicks; (other) where a range had more values than fit',
    bot Bool COMMENT 'Whether a rule says that no person clicked',
    clicks SimpleAggregateFunction(sum, UInt64) COMMENT 'Exact number of clicks' CODEC(T64, ZSTD(1))
)
ENGINE = ${engine:AggregatingMergeTree}
PARTITION BY toYYYYMM(day)
PRIMARY KEY code
ORDER BY (code, dimension, day, value, bot, domain)
TTL day + toIntervalDay(${rollups_ttl_days})
SETTINGS ${deduplication}, index_granularity = 512, min_compress_block_size = 4096
COMMENT 'Clicks of a link by day and what they came from, exact, from 100 percent of events';

CREATE TABLE IF NOT EXISTS visits_by_hour (
    hour DateTime('UTC') COMMENT 'Start of the hour of the visits' CODEC(Delta, ZSTD(1)),
    domain LowCardinality(String) COMMENT 'Domain that was asked; empty for the default one',
    kind LowCardinality(String) COMMENT 'click; or, of visits that reached no link, base_url, invalid_short_url, regular_404',
    bot Bool COMMENT 'Whether a rule says that no person asked',
    visits SimpleAggregateFunction(sum, UInt64) COMMENT 'Exact number of visits' CODEC(T64, ZSTD(1)),
    visitor_list Array(UInt64) EPHEMERAL COMMENT 'Visitors'' hashes as they arrive; not stored',
    visitors AggregateFunction(uniq, UInt64) DEFAULT arrayReduce('uniqState', visitor_list) COMMENT 'Distinct visitors: read with uniqMerge(visitors); hashes change daily, so days add up' CODEC(ZSTD(1))
)
ENGINE = ${engine:AggregatingMergeTree}
PARTITION BY toYYYYMM(hour)
ORDER BY (kind, hour, domain, bot)
TTL hour + toIntervalDay(${rollups_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Visits of all links together, and of none, by hour, exact, from 100 percent of events';

CREATE TABLE IF NOT EXISTS visits_by_day (
    day Date COMMENT 'Day of the visits, UTC' CODEC(Delta, ZSTD(1)),
    domain LowCardinality(String) COMMENT 'Domain that was asked; empty for the default one',
    kind LowCardinality(String) COMMENT 'As in visits_by_hour',
    dimension LowCardinality(String) COMMENT 'What value is of: country, device, browser, os, referrer_host; each visit counts once under each',
    value LowCardinality(String) COMMENT 'As in clicks; (other) where a range had more values than fit',
    bot Bool COMMENT 'Whether a rule says that no person asked',
    visits SimpleAggregateFunction(sum, UInt64) COMMENT 'Exact number of visits' CODEC(T64, ZSTD(1))
)
ENGINE = ${engine:AggregatingMergeTree}
PARTITION BY toYYYYMM(day)
PRIMARY KEY (kind, dimension, day)
ORDER BY (kind, dimension, day, value, bot, domain)
TTL day + toIntervalDay(${rollups_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Visits of all links together, and of none, by day and what they came from, exact, from 100 percent of events';

CREATE TABLE IF NOT EXISTS orphan_visits (
    ts DateTime('UTC') COMMENT 'When the visit was made, to the second' CODEC(Delta, ZSTD(1)),
    domain LowCardinality(String) COMMENT 'Domain that was asked; empty for the default one',
    kind LowCardinality(String) COMMENT 'base_url, invalid_short_url, regular_404',
    path String COMMENT 'Path that was asked for, without query and whole addresses, at most 255 bytes' CODEC(ZSTD(1)),
    visitor UInt64 COMMENT 'Tells visitors apart within one day only; 0 where it is not known' CODEC(ZSTD(1)),
    country LowCardinality(String) COMMENT 'Country as ISO 3166-1 alpha-2',
    device LowCardinality(String) COMMENT 'desktop, mobile, appliance or empty',
    browser LowCardinality(String) COMMENT 'Family of the browser',
    os LowCardinality(String) COMMENT 'Family of the operating system',
    referrer_host LowCardinality(String) COMMENT 'Host of the Referer header',
    bot Bool COMMENT 'Whether a rule says that no person asked',
    bot_reason LowCardinality(String) COMMENT 'The rule that said so'
)
ENGINE = ${engine:MergeTree}
PARTITION BY toYYYYMM(ts)
ORDER BY (kind, ts)
TTL ts + toIntervalDay(${clicks_ttl_days})
SETTINGS ${deduplication}
COMMENT 'Visits that reached no link, exact, one a row';
