-- A table's indexes, in the order in which they were made: their names, and how they are defined behind USING. One that
-- is unique or not valid is told apart, for its definition does not say so.
SELECT c.relname::text AS name,
       CASE WHEN i.indisunique THEN 'unique ' WHEN NOT i.indisvalid THEN 'invalid ' ELSE '' END
           || substring(pg_get_indexdef(i.indexrelid) FROM ' USING (.*)') AS definition
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::oid
ORDER BY i.indexrelid
