-- Ranges that do not follow on the one before them, or whose counts do not add up; as many as asked for. `expected` is
-- where the range should begin; for the first range of a partition that is where it does.
SELECT
    log_partition, first_offset, last_offset, expected, events, kept, sampled_out, dead_lettered,
    toUInt8(messages > last_offset - first_offset + 1 OR last_offset < first_offset OR click_rows > clicks) AS impossible
FROM (
    SELECT *, if(ranges_before = 0, first_offset, end_before) AS expected
    FROM (
        SELECT
            log_partition, first_offset, last_offset, messages, events, kept, sampled_out, dead_lettered, clicks, click_rows,
            count() OVER earlier AS ranges_before,
            max(last_offset + 1) OVER earlier AS end_before
        FROM ingest_ledger
        WHERE topic = {topic:String} AND first_offset < {committed:Map(UInt32, UInt64)}[log_partition]
        WINDOW earlier AS (PARTITION BY log_partition ORDER BY first_offset, last_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    )
)
WHERE first_offset != expected OR impossible OR events != kept + sampled_out + dead_lettered
ORDER BY log_partition, first_offset, last_offset
LIMIT {limit:UInt32}
