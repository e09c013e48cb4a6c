-- Where the first range of a partition begins that begins at or after an offset. Read in the order of the table's key.
SELECT first_offset
FROM ingest_ledger
WHERE topic = {topic:String} AND log_partition = {partition:UInt32} AND first_offset >= {offset:UInt64}
ORDER BY topic, log_partition, first_offset
LIMIT 1
