-- Whether anything at or beyond an offset was stored already.
SELECT count() AS ranges
FROM ingest_ledger
WHERE topic = {topic:String} AND log_partition = {partition:UInt32} AND last_offset >= {first:UInt64}
