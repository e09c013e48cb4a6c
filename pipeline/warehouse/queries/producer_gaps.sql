-- Events that a producer numbered and that never arrived (`missing`), arrived more than once (`repeated`), or were in
-- memory when it ended (`missing_at_end`). Exact: from all events, before sampling. Boots without any of it are left out.
WITH
runs AS (
    SELECT service, instance, boot_id, first_seq, last_seq,
        max(last_seq) OVER (PARTITION BY service, instance, boot_id ORDER BY first_seq, last_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
        -- The first runs of a boot that has outlived its rows have expired: what came before them is not missing.
        min(collected_at) OVER (PARTITION BY service, instance, boot_id) < now() - toIntervalDay({requests_ttl_days:UInt32} - 2) AS expired
    FROM producer_sequences
),
arrived AS (
    SELECT service, instance, boot_id,
        max(runs.last_seq) AS highest,
        sum(if(runs.first_seq > before + 1 AND NOT (before = 0 AND expired), first_seq - before - 1, 0)) AS missing,
        sum(if(first_seq <= before, least(last_seq, before) - first_seq + 1, 0)) AS repeated
    FROM runs GROUP BY service, instance, boot_id
),
ended AS (
    SELECT service, instance, boot_id, max(issued) AS issued, min(clean) AS clean
    FROM producer_boots GROUP BY service, instance, boot_id
)
SELECT
    toString(service) AS service, toString(instance) AS instance, toString(boot_id) AS boot_id,
    toUInt64(missing) AS missing, toUInt64(repeated) AS repeated, toUInt64(if(issued > highest, issued - highest, 0)) AS missing_at_end
FROM arrived FULL JOIN ended USING (service, instance, boot_id)
WHERE missing > 0 OR repeated > 0 OR missing_at_end > 0
ORDER BY service, instance, boot_id
