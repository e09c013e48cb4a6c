SELECT
    ts AS timestamp,
    concat(method, ' ', route, ' ', toString(status), ' ', outcome, if(error_message = '', '', concat(': ', error_message))) AS body,
    if(outcome IN ('server_error', 'panic'), 'error', 'warn') AS level,
    trace_id AS traceID,
    map('request_id', request_id, 'error_type', toString(error_type), 'version', toString(version), 'instance', toString(instance), 'code', code, 'cache', toString(cache), 'breaker', toString(breaker), 'limiter', toString(limiter)) AS labels
FROM requests
WHERE $__timeFilter(ts) AND NOT synthetic AND outcome != 'ok'
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
    AND $__conditionalAll(instance IN (${instance:sqlstring}), $instance)
    AND $__conditionalAll(outcome IN (${outcome:sqlstring}), $outcome)
    AND $__conditionalAll(if(error_type = '', toString(outcome), toString(error_type)) IN (${error_type:sqlstring}), $error_type)
    AND $__conditionalAll(code = ${code:sqlstring}, $code)
ORDER BY ts DESC
LIMIT 200
