SELECT
    ts AS time, service, instance, method, route, status, outcome, error_type AS error, duration_us / 1e6 AS duration,
    redis_us, store_us, cache, span_id, request_id, trace_id
FROM requests
WHERE $__timeFilter(ts) AND trace_id = if(
        ${trace_id:sqlstring} = '',
        (SELECT trace_id FROM requests WHERE $__timeFilter(ts) AND NOT synthetic AND outcome != 'ok' ORDER BY ts DESC LIMIT 1),
        ${trace_id:sqlstring}
    )
ORDER BY ts
LIMIT 100
