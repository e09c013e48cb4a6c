-- What was numbered and is not accounted for, a row a loss: numbers that never arrived, numbers that a producer had given
-- out when it was killed, and events of stored ranges of which nothing became. A gap shows when a later number arrives, and
-- is counted then. Of a boot that is older than the day before, what came before its first run is not known.
WITH
toDateTime({since_s:UInt32}) - 86400 AS known_since,
runs AS (
    SELECT collected_at, service, instance, boot_id, first_seq, last_seq,
        max(last_seq) OVER (PARTITION BY service, instance, boot_id ORDER BY first_seq, last_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
        toDateTime(UUIDv7ToDateTime(toUUIDOrZero(toString(boot_id)))) >= known_since AS young
    FROM producer_sequences
    WHERE collected_at >= known_since AND collected_at < toDateTime({until_s:UInt32})
),
highest AS (SELECT service, instance, boot_id, max(last_seq) AS highest FROM runs GROUP BY service, instance, boot_id),
losses AS (
    SELECT collected_at, 'never arrived' AS loss, service, instance, boot_id,
        before + 1 AS first_seq, runs.first_seq - 1 AS last_seq, toUInt64(runs.first_seq - before - 1) AS events
    FROM runs WHERE runs.first_seq > before + 1 AND (before > 0 OR young)
    UNION ALL
    SELECT collected_at, 'in memory when it ended' AS loss, service, instance, boot_id,
        highest + 1 AS first_seq, issued AS last_seq, toUInt64(issued - highest) AS events
    FROM producer_boots INNER JOIN highest USING (service, instance, boot_id)
    WHERE issued > highest AND collected_at >= known_since AND collected_at < toDateTime({until_s:UInt32})
    UNION ALL
    SELECT collected_at, 'not in the books' AS loss, '' AS service, '' AS instance, '' AS boot_id,
        toUInt64(0) AS first_seq, toUInt64(0) AS last_seq, toUInt64(ingest_ledger.events - kept - sampled_out - dead_lettered) AS events
    FROM ingest_ledger
    WHERE ingest_ledger.events > kept + sampled_out + dead_lettered AND collected_at >= known_since AND collected_at < toDateTime({until_s:UInt32})
)
