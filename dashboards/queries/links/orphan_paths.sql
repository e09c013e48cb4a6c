SELECT path, kind, count() AS visits, countIf(bot) AS by_bots
FROM orphan_visits
WHERE $__timeFilter(ts)
    AND $__conditionalAll(if(domain = '', '(default)', toString(domain)) IN (${domain:sqlstring}), $domain)
GROUP BY path, kind
ORDER BY visits DESC
LIMIT 50
