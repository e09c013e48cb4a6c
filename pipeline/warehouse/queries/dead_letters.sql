-- Dead letters with how far their replay is, newest first. An empty text, or a number below 0, stands for any.
-- The bytes only where they are asked for: there may be megabytes in a row. As hexadecimal, since they may be anything.
WITH replays AS (
    SELECT topic, log_partition, log_offset, line, countIf(state = 'begun') AS begun, countIf(state = 'done') AS done
    FROM dead_letter_replays
    WHERE ({topic:String} = '' OR topic = {topic:String})
        AND ({partition:Int64} < 0 OR log_partition = {partition:Int64})
        AND ({offset:Int64} < 0 OR log_offset = {offset:Int64})
    GROUP BY topic, log_partition, log_offset, line
)
SELECT
    toString(letter.topic) AS topic, letter.log_partition AS partition, letter.log_offset AS offset, letter.line AS line,
    letter.events AS events, toString(letter.reason) AS reason, letter.detail AS detail, toString(letter.schema) AS schema,
    toString(letter.content_type) AS content_type, toUnixTimestamp64Micro(letter.appended_at) AS appended_at_us,
    toUnixTimestamp64Micro(letter.collected_at) AS collected_at_us, letter.purged AS purged,
    toUInt64(length(letter.raw)) AS raw_bytes, if({with_raw:Bool}, hex(letter.raw), '') AS raw_hex,
    replays.begun AS replays_begun, replays.done AS replays_done
FROM dead_letters AS letter LEFT JOIN replays
    ON replays.topic = letter.topic AND replays.log_partition = letter.log_partition
    AND replays.log_offset = letter.log_offset AND replays.line = letter.line
WHERE ({topic:String} = '' OR letter.topic = {topic:String})
    AND ({partition:Int64} < 0 OR letter.log_partition = {partition:Int64})
    AND ({offset:Int64} < 0 OR letter.log_offset = {offset:Int64})
    AND ({line:Int64} < 0 OR letter.line = {line:Int64})
    AND ({reason:String} = '' OR letter.reason = {reason:String})
    AND letter.collected_at >= fromUnixTimestamp64Micro({since_us:Int64})
    AND letter.collected_at < fromUnixTimestamp64Micro({until_us:Int64})
ORDER BY letter.collected_at DESC, letter.topic, letter.log_partition, letter.log_offset, letter.line
LIMIT {limit:UInt32}
