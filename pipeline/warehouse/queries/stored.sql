-- What the tables hold, to be compared with the sums of the ledger. Rows that expire soon may be gone already, so those
-- are counted from the ranges that can't have expired: an event is at most a week older than its range.
WITH fresh AS (
    SELECT log_partition, min(first_offset) AS from_offset, sum(kept) AS kept, sum(dead_lettered) AS dead_lettered
    FROM ingest_ledger
    WHERE topic = {topic:String} AND collected_at > now() - toIntervalDay({requests_ttl_days:UInt32} - 8)
    GROUP BY log_partition
)
SELECT
    assumeNotNull((SELECT sum(kept) FROM fresh)) AS kept_ledger,
    assumeNotNull((SELECT count() FROM requests INNER JOIN fresh USING (log_partition) WHERE log_offset >= from_offset)) AS kept_stored,
    assumeNotNull((SELECT sum(dead_lettered) FROM fresh)) AS dead_ledger,
    assumeNotNull((SELECT sum(events) FROM dead_letters INNER JOIN fresh USING (log_partition) WHERE topic = {topic:String} AND log_offset >= from_offset)) AS dead_stored,
    assumeNotNull((SELECT sum(kept) + sum(sampled_out) FROM ingest_ledger)) AS requests_ledger,
    assumeNotNull((SELECT sum(requests) FROM requests_by_minute)) AS requests_stored,
    assumeNotNull((SELECT sum(clicks) FROM ingest_ledger)) AS clicks_ledger,
    assumeNotNull((SELECT sum(clicks) FROM clicks_by_hour)) AS clicks_stored,
    assumeNotNull((SELECT sum(click_rows) FROM ingest_ledger)) AS click_rows_ledger,
    assumeNotNull((SELECT count() FROM clicks)) AS click_rows_stored,
    assumeNotNull((SELECT count() > 0 FROM ingest_ledger WHERE collected_at < now() - toIntervalDay({rollups_ttl_days:UInt32} - 8))) AS rollups_expired,
    assumeNotNull((SELECT count() > 0 FROM ingest_ledger WHERE collected_at < now() - toIntervalDay({clicks_ttl_days:UInt32} - 8))) AS clicks_expired
