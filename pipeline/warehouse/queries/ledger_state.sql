-- What the ledger holds by now, of all topics, and what time it is for ClickHouse; when the schema was first installed.
-- Asked before and after a comparison that has no offsets to go by: if it has moved, the comparison means nothing.
SELECT
    toUInt32(now()) AS now_s,
    assumeNotNull((SELECT toUInt32(min(applied_at)) FROM schema_migrations)) AS installed_s,
    count() AS ranges,
    sum(events) AS events
FROM ingest_ledger
