-- The columns of the B-tree index that rows are sorted by: the widest plain one, a primary key or unique index
-- only where there is no other (those are mostly surrogate keys). Bit 0 of indoption is DESC.
SELECT key.number, (key.option & 1) = 1 AS descending
FROM (
    SELECT i.indexrelid, i.indkey, i.indoption
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_am AS m ON m.oid = c.relam
    WHERE i.indrelid = $1 AND m.amname = 'btree' AND i.indisvalid
      AND i.indpred IS NULL AND i.indexprs IS NULL
    ORDER BY i.indisunique, i.indnkeyatts DESC, i.indexrelid
    LIMIT 1
) AS best,
unnest(best.indkey::smallint[], best.indoption::smallint[]) WITH ORDINALITY AS key (number, option, place)
WHERE key.option IS NOT NULL
ORDER BY key.place
