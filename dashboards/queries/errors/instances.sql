SELECT
    r.instance AS instance,
    sumIf(r.requests, r.outcome != 'ok' AND $__conditionalAll(r.outcome IN (${outcome:sqlstring}), $outcome)) AS failed,
    sum(r.requests) AS requests,
    failed / requests AS share
FROM requests_by_minute AS r
WHERE $__timeFilter(r.minute) AND NOT r.synthetic
    AND $__conditionalAll(r.route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(r.version IN (${version:sqlstring}), $version)
    AND $__conditionalAll(r.instance IN (${instance:sqlstring}), $instance)
GROUP BY instance
ORDER BY share DESC
LIMIT 50
