-- How often a replay of a dead letter was begun and finished, whose attempt is the last one, and a new name for one.
SELECT
    countIf(state = 'begun') AS begun,
    countIf(state = 'done') AS done,
    argMaxIf(attempt, replayed_at, state = 'begun') AS last_attempt,
    argMaxIf(operator, replayed_at, state = 'begun') AS last_operator,
    toUnixTimestamp64Micro(maxIf(replayed_at, state = 'begun')) AS last_begun_us,
    toString(generateUUIDv4()) AS new_attempt
FROM dead_letter_replays
WHERE topic = {topic:String} AND log_partition = {partition:UInt32} AND log_offset = {offset:UInt64} AND line = {line:UInt32}
