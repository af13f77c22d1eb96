-- Replayed dead letters are rows now. Only those that are as they were read: fewer than asked for means that somebody has
-- changed one, and the transaction must not go on.
DELETE FROM dead_letters AS letter
USING unnest($1::bigint[], $2::text[]) AS replayed (id, version)
WHERE letter.id = replayed.id AND letter.xmin::text = replayed.version
