-- A timestamp of another message than the one before next_offset says nothing: somebody has set next_offset by hand.
SELECT partition, next_offset, CASE WHEN last_offset = next_offset - 1 THEN last_timestamp END
FROM consumer_offsets
WHERE group_id = $1 AND topic = $2
