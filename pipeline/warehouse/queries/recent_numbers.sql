-- Numbers of producers that are missing, by what was collected lately: of each boot, from the first to the last number that
-- arrived between `since_s` and five minutes ago, those that have not arrived up to now, from ten minutes earlier on. So a
-- partition may lag behind another by five minutes; a larger lag shows as missing until it is caught up.
WITH
    toDateTime({since_s:UInt32}) AS since,
    toDateTime({now_s:UInt32}) - 300 AS settled,
    runs AS (
        SELECT service, instance, boot_id, first_seq, last_seq, collected_at >= since AND collected_at < settled AS counts
        FROM producer_sequences
        WHERE collected_at >= since - 600 AND range_offset < {committed:Map(UInt32, UInt64)}[log_partition]
    ),
    spans AS (
        SELECT service, instance, boot_id, minIf(first_seq, counts) AS low, maxIf(last_seq, counts) AS high
        FROM runs GROUP BY service, instance, boot_id HAVING high > 0
    )
SELECT toUInt64(sum(greatest(missing, 0))) AS missing
FROM (
    SELECT toInt64(any(high) - any(low) + 1) - toInt64(sum(greatest(toInt64(least(last_seq, high)) - toInt64(greatest(first_seq, low)) + 1, 0))) AS missing
    FROM runs INNER JOIN spans USING (service, instance, boot_id)
    GROUP BY service, instance, boot_id
)
