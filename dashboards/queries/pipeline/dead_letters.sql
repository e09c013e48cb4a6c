SELECT
    d.reason AS reason,
    sum(d.events) AS events,
    count() AS letters,
    anyLast(d.detail) AS detail,
    max(d.collected_at) AS newest
FROM dead_letters AS d
WHERE $__timeFilter(d.collected_at)
GROUP BY reason
ORDER BY events DESC
