-- Links and what they are made of. Times are seconds since the Unix epoch.

CREATE TABLE links (
    -- AUTOINCREMENT: an id is never given twice, so events of a deleted link stay its own.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    -- '' is the default domain; others come with domains.
    domain        TEXT    NOT NULL DEFAULT '',
    code          TEXT    NOT NULL,
    target        TEXT    NOT NULL,
    -- First 16 bytes of BLAKE3 of target: an index on long texts would be larger than the table.
    target_hash   BLOB    NOT NULL,
    title         TEXT,
    version       INTEGER NOT NULL DEFAULT 1,
    revision      INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL,
    valid_since   INTEGER,
    valid_until   INTEGER,
    max_visits    INTEGER,
    visits        INTEGER NOT NULL DEFAULT 0,
    crawlable     INTEGER NOT NULL DEFAULT 0,
    forward_query INTEGER NOT NULL DEFAULT 1,
    api_key_id    TEXT,
    UNIQUE (domain, code)
) STRICT;

CREATE INDEX links_by_target ON links (target_hash);
CREATE INDEX links_by_creation ON links (created_at, id);
CREATE INDEX links_crawlable ON links (id) WHERE crawlable;

CREATE TABLE tags (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE link_tags (
    link_id INTEGER NOT NULL REFERENCES links (id) ON DELETE CASCADE,
    tag_id  INTEGER NOT NULL REFERENCES tags (id) ON DELETE CASCADE,
    PRIMARY KEY (link_id, tag_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX link_tags_by_tag ON link_tags (tag_id);

-- The next id for codes of a length; everything below is leased.
CREATE TABLE code_ranges (
    length  INTEGER PRIMARY KEY,
    next_id INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
