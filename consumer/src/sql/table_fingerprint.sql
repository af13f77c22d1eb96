-- What COPY BINARY depends on, as one string a table: another string means that the table has changed. Its own name and
-- whether that name finds it are part of it: COPY names the table, and a table that was swapped for another one lives
-- on, unchanged, under another name.
SELECT coalesce(c.relnamespace || '.' || c.relname || ':' || pg_table_is_visible(c.oid), '') || coalesce(
           string_agg(format(',%s:%s:%s:%s:%s', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull), ''
                      ORDER BY a.attnum), '')
FROM unnest($1::oid[]) WITH ORDINALITY AS wanted (oid, place)
LEFT JOIN pg_class AS c ON c.oid = wanted.oid
LEFT JOIN pg_attribute AS a ON a.attrelid = wanted.oid AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY wanted.place, c.oid, c.relnamespace, c.relname
ORDER BY wanted.place
