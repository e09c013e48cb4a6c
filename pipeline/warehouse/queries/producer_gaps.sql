-- Events that a producer numbered and that never arrived (`missing`), arrived more than once (`repeated`), or were in
-- memory when it ended (`missing_at_end`), up to the committed offsets. Exact: from all events, before sampling. Boots
-- without any of it are left out. Runs and ends of boots expire each by themselves, so what is close to it is passed over,
-- and of boots that began before that, what comes before their first run.
WITH
toDateTime({now_s:UInt32}) - toIntervalDay({requests_ttl_days:UInt32} - 2) AS since,
known AS (
    SELECT service, instance, boot_id, first_seq, last_seq, collected_at,
        min(collected_at) OVER (PARTITION BY service, instance, boot_id) AS oldest
    FROM producer_sequences WHERE range_offset < {committed:Map(UInt32, UInt64)}[log_partition]
),
runs AS (
    SELECT service, instance, boot_id, first_seq, last_seq,
        max(last_seq) OVER (PARTITION BY service, instance, boot_id ORDER BY first_seq, last_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
        -- Boots are named by UUIDs with the time in them; of others, the oldest run tells.
        UUIDv7ToDateTime(toUUIDOrZero(toString(boot_id))) AS began,
        if(began > toDateTime(0), toDateTime(began), toDateTime(oldest)) < since AS old
    FROM known WHERE collected_at >= since
),
arrived AS (
    SELECT service, instance, boot_id,
        max(runs.last_seq) AS highest,
        sum(if(runs.first_seq > before + 1 AND NOT (before = 0 AND old), first_seq - before - 1, 0)) AS missing,
        sum(if(first_seq <= before, least(last_seq, before) - first_seq + 1, 0)) AS repeated
    FROM runs GROUP BY service, instance, boot_id
),
ended AS (
    SELECT service, instance, boot_id, max(issued) AS issued,
        toDateTime(UUIDv7ToDateTime(toUUIDOrZero(toString(boot_id)))) AS began,
        began > toDateTime(0) AND began < since AS old
    FROM producer_boots
    WHERE collected_at >= since AND log_offset < {committed:Map(UInt32, UInt64)}[log_partition]
    GROUP BY service, instance, boot_id
)
SELECT
    toString(service) AS service, toString(instance) AS instance, toString(boot_id) AS boot_id,
    toUInt64(missing) AS missing, toUInt64(repeated) AS repeated,
    toUInt64(if(issued > highest AND NOT (highest = 0 AND old), issued - highest, 0)) AS missing_at_end
FROM arrived FULL JOIN ended USING (service, instance, boot_id)
WHERE missing > 0 OR repeated > 0 OR missing_at_end > 0
ORDER BY service, instance, boot_id
