-- Consumed ranges in their order, as the collector wrote them down.
SELECT log_partition, first_offset, last_offset, messages, events, events_announced, kept, sampled_out, dead_lettered, clicks, click_rows
FROM ingest_ledger
WHERE topic = {topic:String}
ORDER BY log_partition, first_offset, last_offset
