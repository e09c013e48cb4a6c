SELECT
    p.table AS table,
    count() AS parts,
    sum(p.rows) AS rows,
    sum(p.bytes_on_disk) AS bytes,
    max(p.modification_time) AS newest
FROM system.parts AS p
WHERE p.active AND p.database = currentDatabase()
GROUP BY table
ORDER BY parts DESC, table
