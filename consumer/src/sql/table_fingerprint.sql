-- What COPY BINARY depends on, as one string a table: another string means that the table has changed.
SELECT coalesce(string_agg(format('%s:%s:%s:%s:%s', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull), ','
                           ORDER BY a.attnum), '')
FROM unnest($1::oid[]) WITH ORDINALITY AS wanted (oid, place)
LEFT JOIN pg_attribute AS a ON a.attrelid = wanted.oid AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY wanted.place
ORDER BY wanted.place
