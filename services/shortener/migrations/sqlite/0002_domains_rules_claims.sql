-- Domains, rules, the history of destinations, roles of keys, and requests that have their effect once.

ALTER TABLE links RENAME COLUMN api_key_id TO owner;
ALTER TABLE links ADD COLUMN redirect_status INTEGER;
ALTER TABLE links ADD COLUMN cache_lifetime_s INTEGER;
-- JSON, read and written as a whole; NULL where there are none.
ALTER TABLE links ADD COLUMN rules TEXT;
-- Visits before it were deleted.
ALTER TABLE links ADD COLUMN visits_from INTEGER;

CREATE INDEX links_by_owner ON links (owner, created_at, id) WHERE owner IS NOT NULL;

-- Every destination that a link has had, the current one included.
CREATE TABLE link_targets (
    link_id INTEGER NOT NULL REFERENCES links (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    target  TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    owner   TEXT,
    PRIMARY KEY (link_id, version)
) STRICT, WITHOUT ROWID;

-- Of older links only the current destination is known, and not since when.
INSERT INTO link_targets (link_id, version, target, since, owner)
SELECT id, version, target, created_at, owner FROM links;

-- Domains with settings of their own; others are known by their links. '' is the default one.
CREATE TABLE domains (
    authority         TEXT PRIMARY KEY,
    base_url          TEXT,
    regular_404       TEXT,
    invalid_short_url TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    owner       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    nonce       BLOB    NOT NULL,
    claimed_at  INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    -- JSON: the ids of the links created or found, null where an alias was taken. NULL while under way.
    done        TEXT,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX claims_by_age ON claims (claimed_at);

ALTER TABLE api_keys ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- JSON: an array of roles; '[]' restricts nothing.
ALTER TABLE api_keys ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';
UPDATE api_keys SET owner = id;
