SELECT min(minute) AS time, concat('Version ', version) AS text, arrayStringConcat(groupUniqArray(service), ',') AS tags
FROM requests_by_minute
WHERE minute >= $__fromTime - INTERVAL 7 DAY AND minute <= $__toTime AND version != 'other'
GROUP BY version
HAVING time >= $__fromTime
ORDER BY time
