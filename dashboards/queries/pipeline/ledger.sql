SELECT
    $__timeInterval(l.collected_at) AS time,
    sum(l.kept) AS kept,
    sum(l.sampled_out) AS sampled_out,
    sum(l.dead_lettered) AS dead_lettered
FROM ingest_ledger AS l
WHERE $__timeFilter(l.collected_at)
GROUP BY time
ORDER BY time
