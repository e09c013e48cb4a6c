SELECT minute, toFloat64(sum(numbered)) AS total, toFloat64(sum(lost)) AS bad
FROM (
    SELECT toStartOfMinute(collected_at) AS minute,
        toUInt64(if(last_seq > before, last_seq - greatest(first_seq, before + 1) + 1, 0)) AS numbered, toUInt64(0) AS lost
    FROM runs
    UNION ALL
    SELECT toStartOfMinute(collected_at) AS minute, toUInt64(if(loss = 'not in the books', 0, events)) AS numbered, events AS lost FROM losses
)
WHERE minute >= toDateTime({since_s:UInt32})
GROUP BY minute ORDER BY minute
