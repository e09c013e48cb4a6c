SELECT
    instance,
    boot_id,
    min(first_seq) AS first_number,
    max(last_seq) AS last_number,
    sum(last_seq - first_seq + 1) AS arrived,
    toInt64(last_number - first_number + 1) - toInt64(arrived) AS missing,
    max(collected_at) AS newest
FROM producer_sequences
WHERE $__timeFilter(collected_at)
GROUP BY instance, boot_id
ORDER BY missing DESC, newest DESC
LIMIT 50
