-- The fence: moves each partition from the offset last seen to the new one. A partition that is not returned was
-- moved by somebody else, and the transaction must not go on.
UPDATE consumer_offsets AS o
SET next_offset = moved.next_offset,
    stored = o.stored + moved.stored,
    dead_lettered = o.dead_lettered + moved.dead_lettered,
    skipped = o.skipped + moved.skipped,
    last_offset = moved.next_offset - 1,
    last_timestamp = moved.last_timestamp,
    updated_at = now()
FROM unnest($3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[])
    AS moved (partition, expected, next_offset, stored, dead_lettered, skipped, last_timestamp)
WHERE o.group_id = $1
  AND o.topic = $2
  AND o.partition = moved.partition
  AND o.next_offset = moved.expected
RETURNING o.partition
