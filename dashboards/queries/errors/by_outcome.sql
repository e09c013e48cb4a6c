SELECT $__timeInterval(minute) AS time, outcome, sum(requests) AS failed
FROM requests_by_minute
WHERE $__timeFilter(minute) AND NOT synthetic AND outcome != 'ok'
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
    AND $__conditionalAll(instance IN (${instance:sqlstring}), $instance)
    AND $__conditionalAll(outcome IN (${outcome:sqlstring}), $outcome)
GROUP BY time, outcome
ORDER BY time
