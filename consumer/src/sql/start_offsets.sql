-- A partition without a row gets one before its first message is read: from then on PostgreSQL is the truth.
-- Another member may have been first: its row stands.
INSERT INTO consumer_offsets (group_id, topic, partition, next_offset)
SELECT $1, $2, start.partition, start.next_offset
FROM unnest($3::integer[], $4::bigint[]) AS start (partition, next_offset)
ON CONFLICT (group_id, topic, partition) DO NOTHING
