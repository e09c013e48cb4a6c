-- Links whose visits were deleted, and those before when: no total of a domain or of everything counts them. It outlives
-- the link.

CREATE TABLE deleted_visits (
    domain      TEXT    NOT NULL,
    code        TEXT    NOT NULL,
    visits_from INTEGER NOT NULL,
    PRIMARY KEY (code, domain)
) STRICT, WITHOUT ROWID;

CREATE INDEX deleted_visits_by_time ON deleted_visits (visits_from);

INSERT INTO deleted_visits (domain, code, visits_from)
SELECT domain, code, visits_from FROM links WHERE visits_from IS NOT NULL;
