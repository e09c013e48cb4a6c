SELECT
    c.code AS code,
    if(c.domain = '', '(default)', toString(c.domain)) AS domain,
    sumIf(c.clicks, NOT c.bot) AS by_people,
    sumIf(c.clicks, c.bot) AS by_bots,
    uniqMergeIf(c.visitors, NOT c.bot) AS visitors
FROM clicks_by_hour AS c
WHERE c.hour >= toStartOfHour($__fromTime) AND c.hour <= $__toTime
    AND $__conditionalAll(c.code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(c.domain = '', '(default)', toString(c.domain)) IN (${domain:sqlstring}), $domain)
GROUP BY code, domain
ORDER BY by_people + by_bots DESC
LIMIT 50
