-- Ranges that do not follow on the one before them, and ranges whose counts do not add up; as many as asked for.
-- `expected` is where the range should begin; for the first range of a partition that is where it does. The window has
-- few columns and may sort on disk, so that the ledger of years fits into little memory. Ranges before `since_s` are passed over.
SELECT * FROM (
    SELECT
        log_partition, first_offset, last_offset, end_before AS expected,
        toUInt64(0) AS events, toUInt64(0) AS kept, toUInt64(0) AS sampled_out, toUInt64(0) AS dead_lettered, toUInt8(0) AS impossible
    FROM (
        SELECT
            log_partition, first_offset, last_offset,
            max(last_offset + 1) OVER (PARTITION BY log_partition ORDER BY first_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS end_before
        FROM ingest_ledger
        WHERE topic = {topic:String} AND first_offset < {committed:Map(UInt32, UInt64)}[log_partition] AND collected_at >= toDateTime({since_s:UInt32})
    )
    WHERE end_before > 0 AND first_offset != end_before
    UNION ALL
    SELECT
        log_partition, first_offset, last_offset, first_offset AS expected, events, kept, sampled_out, dead_lettered,
        toUInt8(messages > last_offset - first_offset + 1 OR last_offset < first_offset OR click_rows > clicks
            OR day_clicks > clicks OR link_clicks > clicks OR orphan_rows > visits OR visits != 0 AND visits < clicks) AS impossible
    FROM ingest_ledger
    WHERE topic = {topic:String} AND first_offset < {committed:Map(UInt32, UInt64)}[log_partition] AND collected_at >= toDateTime({since_s:UInt32})
        AND (impossible OR events != kept + sampled_out + dead_lettered)
)
ORDER BY log_partition, first_offset, last_offset
LIMIT {limit:UInt32}
SETTINGS max_bytes_before_external_sort = 300000000
