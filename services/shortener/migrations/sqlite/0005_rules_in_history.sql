-- Where a visit was led that a rule decided: the rules of each version, which moves with them from now on. Until now they
-- changed without a new version, so of what was visited before this it is not known which ones held.

-- JSON, as in links, '[]' where there were none. NULL: of the current version, whose rules are the link's, or not known,
-- since the target was replaced before this.
ALTER TABLE link_targets ADD COLUMN rules TEXT;

INSERT INTO settings (name, value) VALUES ('rules_in_history_from', unixepoch());
