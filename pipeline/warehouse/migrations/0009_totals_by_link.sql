-- What a link was clicked in a month, so that a list of links is counted without reading their hours. A projection is a
-- part of the part that it is made from: written, recognised when it is repeated, merged and expired with its rows. So it
-- needs no token, and no collector knows it. A question that it does not serve is answered from the rows.
-- Rows that are merged into one are in one row of it, too.
ALTER TABLE clicks_by_hour MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';

-- Sorted by a name of its own: were it sorted as the rows are, it would be chosen by the number of its granules, which are
-- small so that a link costs little.
ALTER TABLE clicks_by_hour ADD PROJECTION IF NOT EXISTS totals_by_link (SELECT concat(toString(domain), '/', code), bot, sum(clicks), min(hour) GROUP BY concat(toString(domain), '/', code), bot) WITH SETTINGS (index_granularity = 2048);

-- What is there already, in the background.
ALTER TABLE clicks_by_hour MATERIALIZE PROJECTION IF EXISTS totals_by_link;
