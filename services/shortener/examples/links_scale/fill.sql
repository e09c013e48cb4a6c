-- Links as a service has them after years: many owners, a thousand tags of which few are frequent, titles on a third.
-- $1 and $2 are the first and the last number.
INSERT INTO links (created_at, target_hash, code, target, owner, title, tags, max_visits)
SELECT 1600000000 + n * 10, md5(target)::uuid, code, target, 'k' || (n % 50),
       CASE WHEN n % 3 = 0 THEN 'An article about number ' || n END,
       CASE WHEN n % 5 < 2 THEN ARRAY[1 + (1000 * (n * 7919 % 1000003 / 1000003.0) ^ 3)::int % 1000]
                || CASE WHEN n % 10 = 0 THEN ARRAY[1 + (n % 997)::int] ELSE '{}' END END,
       CASE WHEN n % 100 = 0 THEN 1000 END
FROM (SELECT n, substr(translate(encode(decode(md5(n::text), 'hex'), 'base64'), '+/=', 'xyz'), 1, 9) AS code,
             'https://www.example-' || n % 5000 || '.com/articles/' || 2015 + n % 10 || '/'
                 || substr(md5('p' || n), 1, 12) || '-' || n || '?utm_source=newsletter' AS target
      FROM generate_series($1::bigint, $2::bigint) AS n) AS given
