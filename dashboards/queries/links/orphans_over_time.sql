SELECT $__timeInterval(ts) AS time, kind, count() AS visits
FROM orphan_visits
WHERE $__timeFilter(ts)
    AND $__conditionalAll(if(domain = '', '(default)', toString(domain)) IN (${domain:sqlstring}), $domain)
GROUP BY time, kind
ORDER BY time
