SELECT sum(v.visits) AS visits
FROM visits_by_hour AS v
WHERE v.hour >= toStartOfHour($__fromTime) AND v.hour <= $__toTime AND v.kind != 'click'
    AND $__conditionalAll(if(v.domain = '', '(default)', toString(v.domain)) IN (${domain:sqlstring}), $domain)
