-- Where a visit was led that a rule decided: the rules of each version, which moves with them from now on. Until now they
-- changed without a new version, so of what was visited before this it is not known which ones held. What the version before
-- changes of rules alone, while both run side by side, is no version of its own either.

SET LOCAL lock_timeout = '2s';

-- As in links, '[]' where there were none. NULL: not known, since the target was replaced before this, or by the version before.
ALTER TABLE past_targets ADD COLUMN rules json;

INSERT INTO settings (name, value) VALUES ('rules_in_history_from', floor(extract(epoch FROM now()))::bigint);
