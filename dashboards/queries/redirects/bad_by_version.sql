SELECT
    $__timeInterval(minute) AS time,
    version,
    sumIf(requests, outcome IN ('server_error', 'panic', 'shed')) / sum(requests) AS bad
FROM requests_by_minute
WHERE $__timeFilter(minute) AND NOT synthetic
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
GROUP BY time, version
ORDER BY time
