SELECT
    TraceId AS traceID, SpanId AS spanID, ParentSpanId AS parentSpanID, toString(ServiceName) AS serviceName,
    toString(SpanName) AS operationName, toUnixTimestamp64Micro(Timestamp) / 1000 AS startTime,
    Duration / 1e6 AS duration,
    arrayMap(key -> map('key', toString(key), 'value', SpanAttributes[key]), mapKeys(SpanAttributes)) AS tags,
    arrayMap(key -> map('key', toString(key), 'value', ResourceAttributes[key]), mapKeys(ResourceAttributes)) AS serviceTags,
    if(StatusCode = 'Error', 2, 0) AS statusCode
FROM otel_traces
WHERE $__timeFilter(Timestamp) AND TraceId = if(
        ${trace_id:sqlstring} = '',
        (SELECT trace_id FROM requests WHERE $__timeFilter(ts) AND NOT synthetic AND outcome != 'ok' ORDER BY ts DESC LIMIT 1),
        ${trace_id:sqlstring}
    )
ORDER BY Timestamp, Duration DESC
LIMIT 1000
