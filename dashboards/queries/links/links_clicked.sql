SELECT uniqExact(c.domain, c.code) AS links
FROM clicks_by_hour AS c
WHERE c.hour >= toStartOfHour($__fromTime) AND c.hour <= $__toTime
    AND $__conditionalAll(c.code = ${code:sqlstring}, $code)
    AND $__conditionalAll(if(c.domain = '', '(default)', toString(c.domain)) IN (${domain:sqlstring}), $domain)
