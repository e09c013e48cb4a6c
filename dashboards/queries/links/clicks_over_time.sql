SELECT $__timeInterval(ts) AS time, countIf(NOT bot) AS people, countIf(bot) AS bots
FROM clicks
WHERE $__timeFilter(ts)
    AND $__conditionalAll(code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(domain = '', '(default)', toString(domain)) IN (${domain:sqlstring}), $domain)
GROUP BY time
ORDER BY time
