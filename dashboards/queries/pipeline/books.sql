SELECT
    l.log_partition AS partition,
    count() AS ranges,
    sum(l.events) AS events,
    sum(l.kept) AS kept,
    sum(l.sampled_out) AS sampled_out,
    sum(l.dead_lettered) AS dead_lettered,
    toInt64(events) - toInt64(kept + sampled_out + dead_lettered) AS unaccounted,
    sum(l.hole) AS holes,
    max(l.collected_at) AS newest
FROM (
    SELECT *, toInt64(first_offset) - 1 - lagInFrame(toInt64(last_offset), 1, toInt64(first_offset) - 1) OVER (PARTITION BY topic, log_partition ORDER BY first_offset ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS hole
    FROM ingest_ledger
    WHERE $__timeFilter(collected_at)
) AS l
GROUP BY partition
ORDER BY partition
