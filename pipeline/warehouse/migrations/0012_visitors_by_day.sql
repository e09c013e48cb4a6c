-- Who came on a day, told apart once for all hours of it: of everything, and of a domain, an hour has a list of hundreds of
-- kilobytes. A projection, as totals_by_link is: see there why the collector need not know it.
ALTER TABLE visits_by_hour MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';

ALTER TABLE visits_by_hour ADD PROJECTION IF NOT EXISTS visitors_by_day (SELECT kind, toDate(hour), domain, bot, uniqMerge(visitors) GROUP BY kind, toDate(hour), domain, bot);

-- What is there already, in the background.
ALTER TABLE visits_by_hour MATERIALIZE PROJECTION IF EXISTS visitors_by_day;
