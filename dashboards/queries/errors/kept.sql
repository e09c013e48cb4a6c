SELECT count() AS kept
FROM requests
WHERE $__timeFilter(ts) AND NOT synthetic AND outcome != 'ok'
    AND $__conditionalAll(route IN (${route:sqlstring}), $route)
    AND $__conditionalAll(version IN (${version:sqlstring}), $version)
    AND $__conditionalAll(instance IN (${instance:sqlstring}), $instance)
    AND $__conditionalAll(outcome IN (${outcome:sqlstring}), $outcome)
    AND $__conditionalAll(if(error_type = '', toString(outcome), toString(error_type)) IN (${error_type:sqlstring}), $error_type)
    AND $__conditionalAll(code = ${code:sqlstring}, $code)
