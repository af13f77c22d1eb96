-- Moves the count of replayed messages. It locks the partition's row, as the consumer's fence does and before anything else
-- as there, so that the two wait for each other and never crosswise; next_offset is the consumer's alone. No row: the group
-- has not counted so many dead letters.
UPDATE consumer_offsets
SET stored = stored + $4,
    dead_lettered = dead_lettered - $4
WHERE group_id = $1 AND topic = $2 AND partition = $3 AND dead_lettered >= $4
