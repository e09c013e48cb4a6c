-- Ranges of a topic that were begun at or after a time, of all partitions: how many ranges' tokens ClickHouse has seen
-- since then, at the least. Parts that are older in whole are passed over by the month that they are of.
SELECT count() AS ranges
FROM ingest_ledger
WHERE topic = {topic:String} AND collected_at >= fromUnixTimestamp64Micro({since_us:Int64})
