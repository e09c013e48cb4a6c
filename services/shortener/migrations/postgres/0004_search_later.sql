-- A text has some seventy trigrams, each with a place of its own in the index: of ten million links these are as many pages
-- that a creation has to read and to log. They are put on a list instead, which a search reads as well, and every few
-- seconds an instance takes the list into the index: what texts share is written once, and no creation waits for it.
-- Only when the list has 8 MB, of some five thousand texts, the creation that finds it so has to do that itself: in steady
-- operation that takes a thousand creations a second; or no instance of this version may run, or none as the index's owner.

SET LOCAL lock_timeout = '2s';

ALTER INDEX IF EXISTS links_by_text SET (fastupdate = on, gin_pending_list_limit = 8192);
