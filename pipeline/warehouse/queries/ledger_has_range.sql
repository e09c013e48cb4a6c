-- Whether a range was stored in full: its ledger row is written last.
SELECT count() AS ranges
FROM ingest_ledger
WHERE topic = {topic:String} AND log_partition = {partition:UInt32} AND first_offset = {first:UInt64} AND last_offset = {last:UInt64}
