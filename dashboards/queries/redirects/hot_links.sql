SELECT if(c.domain = '', '(default)', toString(c.domain)) AS domain, c.code AS code, sum(c.clicks) AS clicks, sumIf(c.clicks, c.bot) AS by_bots, uniqMergeIf(c.visitors, NOT c.bot) AS visitors
FROM clicks_by_hour AS c
WHERE c.hour >= toStartOfHour($__fromTime) AND c.hour <= $__toTime
GROUP BY domain, code
ORDER BY clicks DESC
LIMIT 20
