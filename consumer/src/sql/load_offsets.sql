SELECT partition, next_offset, last_timestamp
FROM consumer_offsets
WHERE group_id = $1 AND topic = $2
