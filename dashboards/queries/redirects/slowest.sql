SELECT
    ts AS time, method, route, status, outcome, cache, code, instance, duration_us / 1e6 AS duration,
    redis_us / 1e6 AS redis, store_us / 1e6 AS store, request_id, trace_id
FROM requests
WHERE $__timeFilter(ts) AND NOT synthetic
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
ORDER BY duration_us DESC
LIMIT 50
