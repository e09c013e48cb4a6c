-- Kept events in the layout of the OpenTelemetry collector's ClickHouse exporter, for HyperDX and Grafana's logs panel.
CREATE OR REPLACE VIEW otel_logs AS
SELECT
    toDateTime64(ts, 9, 'UTC') AS Timestamp,
    toDateTime(ts, 'UTC') AS TimestampTime,
    trace_id AS TraceId,
    span_id AS SpanId,
    toUInt8(1) AS TraceFlags,
    toLowCardinality(multiIf(outcome IN ('server_error', 'panic'), 'ERROR', outcome IN ('shed', 'cancelled', 'rate_limited', 'client_error'), 'WARN', 'INFO')) AS SeverityText,
    toUInt8(multiIf(outcome IN ('server_error', 'panic'), 17, outcome IN ('shed', 'cancelled', 'rate_limited', 'client_error'), 13, 9)) AS SeverityNumber,
    service AS ServiceName,
    concat(method, ' ', route, ' ', toString(status), ' ', outcome, if(error_message = '', '', concat(': ', error_message))) AS Body,
    toLowCardinality('') AS ResourceSchemaUrl,
    CAST(map('service.name', toString(service), 'service.version', toString(version), 'service.instance.id', toString(instance), 'deployment.environment.name', toString(environment)), 'Map(LowCardinality(String), String)') AS ResourceAttributes,
    toLowCardinality('') AS ScopeSchemaUrl,
    'hoplog' AS ScopeName,
    toLowCardinality('') AS ScopeVersion,
    CAST(map(), 'Map(LowCardinality(String), String)') AS ScopeAttributes,
    CAST(mapFilter((k, v) -> v NOT IN ('', '0', 'false'), map(
${otel_attributes},
        'hoplog.sample.weight', toString(sample_weight),
        'hoplog.sample.reason', toString(sample_reason)
    )), 'Map(LowCardinality(String), String)') AS LogAttributes
FROM requests;
