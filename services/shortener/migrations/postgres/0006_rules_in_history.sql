-- Where a visit was led that a rule decided: the rules of each version, which moves with them from now on. NULL: not known, since
-- the target was replaced before this, or by the version before while both run side by side; for a current version the link
-- has them. What that version changes of rules alone is no version of its own.

SET LOCAL lock_timeout = '2s';

-- As in links; '[]' where there were none.
ALTER TABLE past_targets ADD COLUMN rules json;
