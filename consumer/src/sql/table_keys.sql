-- The columns of a table's plain B-tree and BRIN indexes, index by index in the order in which they were made. Bit 0 of
-- indoption is DESC; columns that an index only includes have no option.
SELECT i.indexrelid AS index,
       m.amname = 'brin' AS is_brin,
       i.indisunique AS is_unique,
       key.number,
       (key.option & 1) = 1 AS descending,
       a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) AS is_moment
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_am AS m ON m.oid = c.relam
CROSS JOIN unnest(i.indkey::smallint[], i.indoption::smallint[]) WITH ORDINALITY AS key (number, option, place)
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = key.number
WHERE i.indrelid = $1 AND m.amname IN ('btree', 'brin') AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND key.option IS NOT NULL
ORDER BY i.indexrelid, key.place
