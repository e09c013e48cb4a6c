-- Search by any part of code, target and title. With pg_trgm, which comes with PostgreSQL (Debian has it in postgresql) and
-- which whoever may create in the database may install, an index serves it. Where it can't be had, search reads the links
-- one by one; whoever installs it later makes this index by hand, concurrently.

SET LOCAL lock_timeout = '2s';

DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
        RAISE NOTICE 'pg_trgm can''t be had: search will read all links';
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
        CREATE INDEX links_by_text ON links
            USING gin (lower(code || E'\n' || target || E'\n' || coalesce(title, '')) gin_trgm_ops)
            WITH (fastupdate = off);
    END IF;
END
$$;
