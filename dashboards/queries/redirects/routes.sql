SELECT
    r.route AS route,
    sum(r.requests) AS requests,
    sumIf(r.requests, r.outcome IN ('server_error', 'panic', 'shed')) AS bad,
    sum(r.duration_us_sum) / sum(r.requests) / 1e6 AS mean,
    arrayReduce('quantileExactWeighted(0.99)', mapKeys(sumMap(r.latency_us)), mapValues(sumMap(r.latency_us))) / 1e6 AS p99
FROM requests_by_minute AS r
WHERE $__timeFilter(r.minute) AND NOT r.synthetic
    AND $__conditionalAll(r.route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(r.version IN (${version:sqlstring}), $version)
GROUP BY route
ORDER BY requests DESC
