SELECT c.hour AS time, uniqMerge(c.visitors) AS visitors
FROM clicks_by_hour AS c
WHERE c.hour >= toStartOfHour($__fromTime) AND c.hour <= $__toTime AND NOT c.bot
    AND $__conditionalAll(c.code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(c.domain = '', '(default)', toString(c.domain)) IN (${domain:sqlstring}), $domain)
GROUP BY time
ORDER BY time
