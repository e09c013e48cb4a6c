-- Links whose visits were deleted, and those before when: no total of a domain or of everything counts them. It outlives
-- the link. What the version before deletes while both run side by side is not in it.

CREATE TABLE deleted_visits (
    domain      text   NOT NULL,
    code        text   NOT NULL,
    visits_from bigint NOT NULL,
    PRIMARY KEY (code, domain)
);

CREATE INDEX deleted_visits_by_time ON deleted_visits (visits_from);

INSERT INTO deleted_visits (domain, code, visits_from)
SELECT domain, code, visits_from FROM links WHERE visits_from IS NOT NULL;
