SELECT sum(c.clicks) / uniqMerge(c.visitors) AS clicks_a_visitor
FROM clicks_by_hour AS c
WHERE c.hour >= toStartOfHour($__fromTime) AND c.hour <= $__toTime AND NOT c.bot
    AND $__conditionalAll(c.code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(c.domain = '', '(default)', toString(c.domain)) IN (${domain:sqlstring}), $domain)
