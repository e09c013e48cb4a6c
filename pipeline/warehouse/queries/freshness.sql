-- How old the newest stored range and the newest kept event are, in seconds.
SELECT
    (SELECT dateDiff('second', max(collected_at), now64(6)) FROM ingest_ledger) AS range_age_s,
    (SELECT dateDiff('second', max(ts), now64(6)) FROM requests) AS event_age_s
