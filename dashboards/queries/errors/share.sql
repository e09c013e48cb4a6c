SELECT sumIf(requests, outcome != 'ok' AND $__conditionalAll(outcome IN (${outcome:sqlstring}), $outcome)) / sum(requests) AS share
FROM requests_by_minute
WHERE $__timeFilter(minute) AND NOT synthetic
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
    AND $__conditionalAll(instance IN (${instance:sqlstring}), $instance)
