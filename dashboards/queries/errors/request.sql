SELECT pair.1 AS field, trim(BOTH '"' FROM pair.2) AS value
FROM (
    SELECT arrayJoin(JSONExtractKeysAndValuesRaw(formatRowNoNewline('JSONEachRow', *))) AS pair
    FROM (
        SELECT *
        FROM requests
        WHERE $__timeFilter(ts)
            AND (${request_id:sqlstring} != '' OR outcome != 'ok' AND NOT synthetic)
            AND $__conditionalAll(request_id = ${request_id:sqlstring}, $request_id)
        ORDER BY ts DESC
        LIMIT 1
    )
)
WHERE value NOT IN ('', '0', 'false')
