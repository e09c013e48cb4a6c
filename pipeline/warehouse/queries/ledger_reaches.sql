-- Where what was stored of a partition ends: the last offset of its last range. Nothing, where there is no range. Read in
-- the order of the table's key, backwards, so it costs a granule of each part and not the whole ledger.
SELECT last_offset
FROM ingest_ledger
WHERE topic = {topic:String} AND log_partition = {partition:UInt32}
ORDER BY topic DESC, log_partition DESC, first_offset DESC
LIMIT 1
