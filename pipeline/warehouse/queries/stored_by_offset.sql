-- What the tables hold that know offsets, beside what the ledger says, in the ranges up to the committed offsets of which
-- nothing can have expired yet: an event is at most a week older than its message, and the day that is left is for
-- messages that waited. (After a longer wait, old events expire sooner than this allows for, and show as missing.)
WITH fresh AS (
    -- By offset on both sides: from behind the last range that is too old.
    SELECT
        log_partition,
        toDateTime({now_s:UInt32}) - toIntervalDay({requests_ttl_days:UInt32} - 8) AS since,
        if(countIf(collected_at <= since) = 0, min(first_offset), maxIf(last_offset + 1, collected_at <= since)) AS from_offset,
        {committed:Map(UInt32, UInt64)}[log_partition] AS until
    FROM ingest_ledger WHERE topic = {topic:String}
    GROUP BY log_partition
),
ledger AS (
    SELECT sum(range.kept) AS kept, sum(range.sampled_out) AS sampled_out, sum(range.dead_lettered) AS dead_lettered, sum(boot_records) AS boots
    FROM ingest_ledger AS range INNER JOIN fresh USING (log_partition)
    WHERE topic = {topic:String} AND first_offset >= from_offset AND first_offset < until
),
letters AS (
    SELECT
        sum(letter.events) AS events,
        -- These could be read, so their numbers count as arrived.
        sumIf(letter.events, reason IN ('future_dated', 'too_old', 'insert_refused')) AS numbered,
        -- And of these nobody knows: the rest of a message with very many bad lines.
        sumIf(letter.events, reason = 'more_bad_lines') AS perhaps_numbered
    FROM dead_letters AS letter INNER JOIN fresh USING (log_partition)
    WHERE topic = {topic:String} AND log_offset >= from_offset AND log_offset < until
),
numbers AS (
    SELECT sum(last_seq - first_seq + 1) AS events
    FROM producer_sequences INNER JOIN fresh USING (log_partition)
    WHERE range_offset >= from_offset AND range_offset < until
)
SELECT what, source, toUInt64(assumeNotNull(at_least)) AS at_least, toUInt64(assumeNotNull(at_most)) AS at_most, toUInt64(assumeNotNull(stored)) AS stored
FROM (
    SELECT 'kept events in requests' AS what, 'the ledger' AS source, kept AS at_least, kept AS at_most,
        (SELECT count() FROM requests INNER JOIN fresh USING (log_partition) WHERE log_offset >= from_offset AND log_offset < until) AS stored
    FROM ledger
    UNION ALL
    SELECT 'dead letters', 'the ledger', dead_lettered, dead_lettered, (SELECT sum(events) FROM letters) FROM ledger
    UNION ALL
    SELECT 'event numbers in producer_sequences', 'the ledger',
        kept + sampled_out + (SELECT sum(numbered) FROM letters),
        kept + sampled_out + (SELECT sum(numbered) + sum(perhaps_numbered) FROM letters),
        (SELECT sum(events) FROM numbers)
    FROM ledger
    UNION ALL
    SELECT 'boots in producer_boots', 'the ledger', boots, boots,
        (SELECT count() FROM producer_boots INNER JOIN fresh USING (log_partition) WHERE log_offset >= from_offset AND log_offset < until)
    FROM ledger
    UNION ALL
    -- As groups and not as a set: groups can be put on disk.
    SELECT 'repeated rows in requests', 'the log', 0, 0, (
        SELECT sum(times - 1) FROM (
            SELECT count() AS times
            FROM requests INNER JOIN fresh USING (log_partition) WHERE log_offset >= from_offset AND log_offset < until
            GROUP BY sipHash128(log_partition, log_offset, instance, boot_id, seq) HAVING times > 1
        )
    )
)
SETTINGS max_bytes_before_external_group_by = 500000000
