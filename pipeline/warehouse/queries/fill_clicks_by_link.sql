-- Puts into clicks_by_link what was stored before there was that table. By hand, once: after the migration, while no collector
-- runs and before one has that knows the table. Without it everything is right as well, and older links are slower.
INSERT INTO clicks_by_link (code, dimension, domain, bot, first, clicks)
SELECT code, 'all', domain, bot, min(hour), sum(clicks) FROM clicks_by_hour GROUP BY code, domain, bot, toStartOfYear(hour)
SETTINGS optimize_aggregation_in_order = 1;

INSERT INTO clicks_by_link (code, dimension, domain, bot, first, clicks)
SELECT code, 'day', domain, bot, min(hour), sum(clicks) FROM clicks_by_hour GROUP BY code, domain, bot, toDate(hour)
SETTINGS optimize_aggregation_in_order = 1;

INSERT INTO clicks_by_link (code, dimension, value, domain, bot, first, clicks)
SELECT code, dimension, value, domain, bot, min(toDateTime(day, 'UTC')), sum(clicks) FROM clicks_by_day GROUP BY code, dimension, value, domain, bot, toStartOfYear(day)
SETTINGS optimize_aggregation_in_order = 1;

-- Now all ranges are in it; `hoplog verify` compares. In a cluster: ingest_ledger_local ON CLUSTER.
ALTER TABLE ingest_ledger UPDATE link_clicks = clicks WHERE link_clicks = 0 SETTINGS mutations_sync = 2;
