SELECT
    if(error_type = '', toString(outcome), toString(error_type)) AS error,
    round(sum(sample_weight)) AS requests,
    arrayStringConcat(arraySort(groupUniqArray(5)(toString(route))), ', ') AS routes,
    arrayStringConcat(arraySort(groupUniqArray(5)(toString(version))), ', ') AS versions,
    min(ts) AS oldest,
    max(ts) AS newest,
    argMax(error_message, ts) AS message,
    argMax(request_id, ts) AS request_id
FROM requests AS r
WHERE $__timeFilter(ts) AND NOT synthetic AND outcome != 'ok'
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
    AND $__conditionalAll(instance IN (${instance:sqlstring}), $instance)
    AND $__conditionalAll(outcome IN (${outcome:sqlstring}), $outcome)
    AND $__conditionalAll(if(error_type = '', toString(outcome), toString(error_type)) IN (${error_type:sqlstring}), $error_type)
    AND $__conditionalAll(code = ${code:sqlstring}, $code)
GROUP BY error
ORDER BY requests DESC
LIMIT 50
