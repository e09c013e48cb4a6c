-- Puts into clicks_by_link what was stored before there was that table. By hand, once. Without it everything is right as well,
-- and older links are slower. While it runs, statistics of links say too little.
--
-- Before: migrate; stop all collectors in good order, with lag 0 (`hoplog verify` says `0 messages wait in the log`). Then no
-- range is half stored either: one of before the table, finished afterwards, would be in the table and not in what the ledger
-- says of it. Afterwards: `hoplog verify`, start the collectors, restart `serve`, which remembers what was not in the table.
--
-- In a cluster the first and last statement are of the tables on the servers: TRUNCATE TABLE clicks_by_link_local ON CLUSTER …,
-- ALTER TABLE ingest_ledger_local ON CLUSTER ….

-- All of it comes from the other tables: what is there already, of a collector that knew the table or of an attempt that broke
-- off, would be there twice.
TRUNCATE TABLE clicks_by_link;

-- Without tokens, since the same rows may come again; in a cluster each is there when the statement ends.
INSERT INTO clicks_by_link (code, dimension, domain, bot, first, clicks)
SELECT code, 'all', domain, bot, min(hour), sum(clicks) FROM clicks_by_hour GROUP BY code, domain, bot, toStartOfYear(hour)
SETTINGS optimize_aggregation_in_order = 1, insert_deduplicate = 0, distributed_foreground_insert = 1;

INSERT INTO clicks_by_link (code, dimension, domain, bot, first, clicks)
SELECT code, 'day', domain, bot, min(hour), sum(clicks) FROM clicks_by_hour GROUP BY code, domain, bot, toDate(hour)
SETTINGS optimize_aggregation_in_order = 1, insert_deduplicate = 0, distributed_foreground_insert = 1;

INSERT INTO clicks_by_link (code, dimension, value, domain, bot, first, clicks)
SELECT code, dimension, value, domain, bot, min(toDateTime(day, 'UTC')), sum(clicks) FROM clicks_by_day GROUP BY code, dimension, value, domain, bot, toStartOfYear(day)
SETTINGS optimize_aggregation_in_order = 1, insert_deduplicate = 0, distributed_foreground_insert = 1;

-- Now all ranges are in it.
ALTER TABLE ingest_ledger UPDATE link_clicks = clicks WHERE link_clicks = 0 SETTINGS mutations_sync = 2;
