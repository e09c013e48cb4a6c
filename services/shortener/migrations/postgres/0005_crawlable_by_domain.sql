-- What robots may follow on each domain, as links_crawlable has it for the default one, which the version before still asks for.
-- To make it all links are read once, some seconds for ten million: creations and edits wait for that, redirects do not.

SET LOCAL lock_timeout = '2s';

CREATE INDEX links_crawlable_by_domain ON links (domain, id) WHERE crawlable AND domain <> '';
