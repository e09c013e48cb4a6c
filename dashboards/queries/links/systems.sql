SELECT if(d.value = '', '(unknown)', toString(d.value)) AS name, sum(d.clicks) AS clicks
FROM clicks_by_day AS d
WHERE d.dimension = 'os' AND d.day >= toDate($__fromTime) AND d.day <= toDate($__toTime) AND NOT d.bot
    AND $__conditionalAll(d.code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(d.domain = '', '(default)', toString(d.domain)) IN (${domain:sqlstring}), $domain)
GROUP BY name
ORDER BY clicks DESC
LIMIT 20
