-- What the tables hold that know offsets, beside what the ledger says, of ranges up to the committed offsets that were begun
-- after `since_s`: the caller chooses it so that nothing can have expired yet, or looks at the last hour only. Rows of a range
-- have its time, to the microsecond, in all tables; so what is older needs not be read.
WITH toDateTime({since_s:UInt32}) AS since, {committed:Map(UInt32, UInt64)} AS committed,
ledger AS (
    SELECT
        sum(range.kept) AS kept, sum(range.sampled_out) AS sampled_out, sum(range.dead_lettered) AS dead_lettered,
        sum(boot_records) AS boots, sum(range.replayed) AS replayed
    FROM ingest_ledger AS range
    WHERE topic = {topic:String} AND first_offset < committed[log_partition] AND collected_at > since
),
letters AS (
    SELECT
        sum(letter.events) AS events,
        -- These could be read, so their numbers count as arrived. Those of replayed events don't: they had arrived before.
        sumIf(letter.events, schema != 'hoplog.replay.v1' AND reason IN ('future_dated', 'too_old', 'insert_refused')) AS numbered,
        -- And of these nobody knows: the rest of a message with very many bad lines.
        sumIf(letter.events, schema != 'hoplog.replay.v1' AND reason = 'more_bad_lines') AS perhaps_numbered,
        sumIf(letter.events, schema = 'hoplog.replay.v1') AS refused_again
    FROM dead_letters AS letter
    WHERE topic = {topic:String} AND log_offset < committed[log_partition] AND collected_at > since
),
-- All events less the replayed ones; dead letters where they had a number.
expected AS (
    SELECT
        toUInt64(kept + sampled_out + refused_again + numbered - replayed) AS at_least,
        at_least + perhaps_numbered AS at_most
    FROM ledger CROSS JOIN letters
)
SELECT what, source, toUInt64(assumeNotNull(at_least)) AS at_least, toUInt64(assumeNotNull(at_most)) AS at_most, toUInt64(assumeNotNull(stored)) AS stored
FROM (
    SELECT 'kept events in requests' AS what, 'the ledger' AS source, kept AS at_least, kept AS at_most,
        (SELECT count() FROM requests WHERE log_offset < committed[log_partition] AND collected_at > since) AS stored
    FROM ledger
    UNION ALL
    SELECT 'dead letters', 'the ledger', dead_lettered, dead_lettered, (SELECT sum(events) FROM letters) FROM ledger
    UNION ALL
    SELECT 'event numbers in producer_sequences', 'the ledger', at_least, at_most, (
        SELECT sum(last_seq - first_seq + 1) FROM producer_sequences
        WHERE range_offset < committed[log_partition] AND collected_at > since
    )
    FROM expected
    UNION ALL
    SELECT 'boots in producer_boots', 'the ledger', boots, boots,
        (SELECT count() FROM producer_boots WHERE log_offset < committed[log_partition] AND collected_at > since)
    FROM ledger
    UNION ALL
    -- As groups and not as a set: groups can be put on disk.
    SELECT 'repeated rows in requests', 'the log', 0, 0, (
        SELECT sum(times - 1) FROM (
            SELECT count() AS times
            FROM requests WHERE log_offset < committed[log_partition] AND collected_at > since
            GROUP BY sipHash128(log_partition, log_offset, instance, boot_id, seq) HAVING times > 1
        )
    )
)
SETTINGS max_bytes_before_external_group_by = 500000000
