-- The columns of a table in their order, with what decides whether and how an event fills them.
SELECT a.attname::text AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       a.atttypid AS type_oid,
       a.atttypmod AS type_modifier,
       a.attnotnull AS not_null,
       a.attidentity <> '' OR a.attgenerated <> '' AS filled_by_postgres,
       pg_get_expr(d.adbin, d.adrelid) AS default_expression,
       a.attnum AS number
FROM pg_attribute AS a
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
