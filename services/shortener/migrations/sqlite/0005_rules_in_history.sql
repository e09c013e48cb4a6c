-- Where a visit was led that a rule decided: the rules of each version, which moves with them from now on. NULL: of the
-- current version, whose rules are the link's, or not known, since the target was replaced before this.

-- JSON, as in links; '[]' where there were none.
ALTER TABLE link_targets ADD COLUMN rules TEXT;
