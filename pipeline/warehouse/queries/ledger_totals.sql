-- What the ledger says of each partition, up to the committed offsets; `beyond` is where its last range ends that is not
-- committed and began to be stored more than a minute ago: younger ones are on their way. What the producers announced is
-- summed from where the log can count; of ranges before that, it knows no more.
WITH {committed:Map(UInt32, UInt64)}[log_partition] AS until, {counted_from:Map(UInt32, UInt64)}[log_partition] AS from
SELECT
    log_partition,
    countIf(first_offset < until) AS ranges,
    minIf(first_offset, first_offset < until) AS begins,
    maxIf(last_offset + 1, first_offset < until) AS ends,
    maxIf(last_offset + 1, first_offset >= until AND collected_at < toDateTime({now_s:UInt32}) - 60) AS beyond,
    sumIf(range.events, first_offset < until) AS events,
    minIf(first_offset, first_offset >= from AND first_offset < until) AS counted_from,
    sumIf(range.events_announced, first_offset >= from AND first_offset < until) AS events_announced,
    sumIf(range.kept, first_offset < until) AS kept,
    sumIf(range.sampled_out, first_offset < until) AS sampled_out,
    sumIf(range.dead_lettered, first_offset < until) AS dead_lettered
FROM ingest_ledger AS range
WHERE topic = {topic:String}
GROUP BY log_partition
ORDER BY log_partition
