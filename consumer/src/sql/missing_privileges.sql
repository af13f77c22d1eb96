-- The privileges that this user lacks: $1 the tables' names as SQL has them, $2 what is needed on each.
-- Tables that are not there (yet) are passed over: it is said elsewhere what follows from that. A table of our own that lies
-- in a schema which this user may not use looks as if it were not there: then it is the schema that is missing.
SELECT wanted.privilege, 'TABLE ' || wanted.name AS object
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (name, privilege, place)
WHERE to_regclass(wanted.name) IS NOT NULL
  AND NOT has_table_privilege(to_regclass(wanted.name)::oid, wanted.privilege)
UNION ALL
SELECT DISTINCT 'USAGE', 'SCHEMA ' || quote_ident(namespace.nspname)
FROM pg_class AS hidden JOIN pg_namespace AS namespace ON namespace.oid = hidden.relnamespace
WHERE hidden.relname = 'storage_consumer_migrations' AND hidden.relkind = 'r'
  AND to_regclass('storage_consumer_migrations') IS NULL
  AND NOT has_schema_privilege(namespace.oid, 'USAGE')
