-- Where a group stands in a topic.
SELECT partition, next_offset, stored, dead_lettered, skipped,
       extract(epoch FROM clock_timestamp() - updated_at)::double precision
FROM consumer_offsets
WHERE group_id = $1 AND topic = $2
ORDER BY partition
