-- All rows of the group and the topic, locked in their order: a consumer's fence waits for the end of the transaction, and
-- misses then.
SELECT partition, next_offset
FROM consumer_offsets
WHERE group_id = $1 AND topic = $2
ORDER BY partition
FOR UPDATE
