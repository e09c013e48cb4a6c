SELECT $__timeInterval(minute) AS time, version, quantileExactWeighted(0.99)(bound_us, events) / 1e6 AS p99
FROM requests_by_minute
ARRAY JOIN mapKeys(latency_us) AS bound_us, mapValues(latency_us) AS events
WHERE $__timeFilter(minute) AND NOT synthetic
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
GROUP BY time, version
ORDER BY time
