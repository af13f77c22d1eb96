-- Where the group goes on. last_offset says which message last_timestamp is of, as in the fence; without a timestamp the log
-- can't be told from another one until a batch has moved the row.
INSERT INTO consumer_offsets AS o (group_id, topic, partition, next_offset, last_offset, last_timestamp)
SELECT $1::text, $2::text, wanted.partition, wanted.next_offset, wanted.next_offset - 1, wanted.last_timestamp
FROM unnest($3::integer[], $4::bigint[], $5::bigint[]) AS wanted (partition, next_offset, last_timestamp)
ORDER BY wanted.partition
ON CONFLICT (group_id, topic, partition) DO UPDATE
SET next_offset = excluded.next_offset,
    last_offset = excluded.last_offset,
    last_timestamp = excluded.last_timestamp,
    updated_at = now()
