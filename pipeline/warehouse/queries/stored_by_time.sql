-- What the tables hold that know no offsets, beside what the ledger says: exact as long as the installation is younger
-- than the times to live. Later by the events' own time, where nothing has expired; the ledger knows the time of a range
-- only, and events are up to a week (and the wait of their message) older: so it says from where to where.
WITH
    toDateTime({now_s:UInt32}, 'UTC') AS today,
    toDateTime({installed_s:UInt32}, 'UTC') AS installed,
    if(installed < today - toIntervalDay({rollups_ttl_days:UInt32} - 8), toStartOfHour(today - toIntervalDay({rollups_ttl_days:UInt32} - 1)), toDateTime(0, 'UTC')) AS rollups_since,
    if(installed < today - toIntervalDay({clicks_ttl_days:UInt32} - 8), toStartOfHour(today - toIntervalDay({clicks_ttl_days:UInt32} - 1)), toDateTime(0, 'UTC')) AS clicks_since,
    -- In clicks_by_link a year expires as a whole, after its last day: this one has not begun to.
    toStartOfYear(rollups_since) AS year_since,
    -- Years of which the ledger knows each day; while there is none of them yet, the one of which it knows some.
    if(rollups_since = 0, toDateTime(0, 'UTC'), toStartOfYear(rollups_since + toIntervalYear(1))) AS years_since,
    rollups_since = 0 OR years_since + toIntervalDay(8) <= today AS whole_years,
    if(whole_years, years_since, toDateTime(year_since, 'UTC')) AS values_since,
    greatest(values_since, rollups_since) AS values_known_since,
    ledger AS (
        SELECT
            -- An event may be minutes ahead of its range, since clocks differ.
            sumIf(kept + sampled_out, collected_at + toIntervalHour(1) >= rollups_since) AS requests_most,
            sumIf(kept + sampled_out, rollups_since = 0 OR collected_at >= rollups_since + toIntervalDay(8)) AS requests_least,
            sumIf(clicks, collected_at + toIntervalHour(1) >= rollups_since) AS clicks_most,
            sumIf(clicks, rollups_since = 0 OR collected_at >= rollups_since + toIntervalDay(8)) AS clicks_least,
            sumIf(click_rows, collected_at + toIntervalHour(1) >= clicks_since) AS click_rows_most,
            sumIf(click_rows, clicks_since = 0 OR collected_at >= clicks_since + toIntervalDay(8)) AS click_rows_least,
            sumIf(visits, collected_at + toIntervalHour(1) >= rollups_since) AS visits_most,
            sumIf(visits, rollups_since = 0 OR collected_at >= rollups_since + toIntervalDay(8)) AS visits_least,
            -- Ranges from before there were visits have none, though they may have clicks.
            sumIf(clicks, visits > 0 AND collected_at + toIntervalHour(1) >= rollups_since) AS click_visits_most,
            sumIf(clicks, visits > 0 AND (rollups_since = 0 OR collected_at >= rollups_since + toIntervalDay(8))) AS click_visits_least,
            sumIf(day_clicks, collected_at + toIntervalHour(1) >= rollups_since) AS day_clicks_most,
            sumIf(day_clicks, rollups_since = 0 OR collected_at >= rollups_since + toIntervalDay(8)) AS day_clicks_least,
            -- Ranges from before there was this table have none.
            sumIf(link_clicks, collected_at + toIntervalHour(1) >= rollups_since) AS link_clicks_most,
            sumIf(link_clicks, rollups_since = 0 OR collected_at >= rollups_since + toIntervalDay(8)) AS link_clicks_least,
            sumIf(day_clicks, link_clicks > 0 AND collected_at + toIntervalHour(1) >= values_known_since) AS link_values_most,
            sumIf(day_clicks, link_clicks > 0 AND (values_known_since = 0 OR collected_at >= values_known_since + toIntervalDay(8))) AS link_values_least,
            sumIf(orphan_rows, collected_at + toIntervalHour(1) >= clicks_since) AS orphan_rows_most,
            sumIf(orphan_rows, clicks_since = 0 OR collected_at >= clicks_since + toIntervalDay(8)) AS orphan_rows_least,
            -- Whether each click of that time got a row.
            countIf(click_rows != clicks AND collected_at + toIntervalHour(1) >= clicks_since) = 0 AS every_click
        FROM ingest_ledger
    ),
    (SELECT sum(clicks) FROM clicks_by_hour WHERE hour >= clicks_since) AS hourly,
    (SELECT sum(clicks) FROM clicks_by_link WHERE kind = 'day' AND since >= year_since) AS link_days,
    (SELECT count() FROM clicks WHERE ts >= clicks_since) AS single
SELECT what, source, toUInt64(assumeNotNull(at_least)) AS at_least, toUInt64(assumeNotNull(at_most)) AS at_most, toUInt64(assumeNotNull(stored)) AS stored
FROM (
    SELECT 'requests in requests_by_minute' AS what, 'the ledger' AS source, requests_least AS at_least, requests_most AS at_most,
        (SELECT sum(requests) FROM requests_by_minute WHERE minute >= rollups_since) AS stored
    FROM ledger
    UNION ALL
    SELECT 'durations in requests_by_minute', 'its column requests', requests, requests, durations
    FROM (SELECT sum(requests) AS requests, sum(arraySum(mapValues(latency_us))) AS durations FROM requests_by_minute)
    UNION ALL
    SELECT 'clicks in clicks_by_hour', 'the ledger', clicks_least, clicks_most,
        (SELECT sum(clicks) FROM clicks_by_hour WHERE hour >= rollups_since)
    FROM ledger
    UNION ALL
    SELECT 'visits in visits_by_hour', 'the ledger', visits_least, visits_most,
        (SELECT sum(visits) FROM visits_by_hour WHERE hour >= rollups_since)
    FROM ledger
    UNION ALL
    SELECT 'clicks in visits_by_hour', 'the ledger', click_visits_least, click_visits_most,
        (SELECT sum(visits) FROM visits_by_hour WHERE kind = 'click' AND hour >= rollups_since)
    FROM ledger
    UNION ALL
    -- Each is there under each of five dimensions. The first day may have hours from before the time that is compared.
    SELECT 'visits in visits_by_day', 'the ledger, five times', 5 * visits_least, 5 * visits_most,
        (SELECT sum(visits) FROM visits_by_day WHERE rollups_since = 0 OR day > toDate(rollups_since))
    FROM ledger
    UNION ALL
    SELECT 'clicks in clicks_by_day', 'the ledger, five times', 5 * day_clicks_least, 5 * day_clicks_most,
        (SELECT sum(clicks) FROM clicks_by_day WHERE rollups_since = 0 OR day > toDate(rollups_since))
    FROM ledger
    UNION ALL
    SELECT 'clicks by day in clicks_by_link', 'the ledger', link_clicks_least, link_clicks_most,
        (SELECT sum(clicks) FROM clicks_by_link WHERE kind = 'day' AND (rollups_since = 0 OR since > toDate(rollups_since)))
    FROM ledger
    UNION ALL
    SELECT 'clicks by year in clicks_by_link', 'its days', link_days, link_days,
        (SELECT sum(clicks) FROM clicks_by_link WHERE kind = 'all' AND since >= year_since)
    FROM ledger
    UNION ALL
    -- Not each click has values, and of a year that begins before the ledger nobody knows how many have.
    SELECT 'values in clicks_by_link', 'the ledger, five times', 5 * link_values_least, 5 * if(whole_years, link_values_most, link_days),
        (SELECT sum(clicks) FROM clicks_by_link WHERE kind = 'value' AND since >= values_since)
    FROM ledger
    UNION ALL
    SELECT 'rows in orphan_visits', 'the ledger', orphan_rows_least, orphan_rows_most,
        (SELECT count() FROM orphan_visits WHERE ts >= clicks_since)
    FROM ledger
    UNION ALL
    SELECT 'rows in clicks', 'the ledger', click_rows_least, click_rows_most, single FROM ledger
    UNION ALL
    SELECT 'rows in clicks', 'clicks_by_hour', if(every_click, hourly, 0), hourly, single FROM ledger
)
