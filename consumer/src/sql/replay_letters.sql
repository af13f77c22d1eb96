-- A bounded part of what a replay takes of one partition, by offset: at most $8 dead letters and $9 bytes, but one in any
-- case. xmin is the version of the row: whoever changes it meanwhile makes another one. What was refused since the replay
-- began ($10) is left for the next one.
SELECT id, version, "offset", (extract(epoch FROM message_timestamp) * 1000)::bigint AS timestamp_ms, key,
       payload
FROM (
    SELECT id, "offset", message_timestamp, key, payload,
           xmin::text AS version,
           row_number() OVER (ORDER BY "offset") AS place,
           sum(coalesce(octet_length(payload), 0) + coalesce(octet_length(key), 0)) OVER (ORDER BY "offset") AS bytes
    FROM dead_letters
    WHERE topic = $1
      AND (group_id = $2 OR group_id IS NULL)
      AND partition = $3
      AND "offset" > $7
      AND ($4::bigint IS NULL OR "offset" = $4)
      AND ($5::text IS NULL OR reason = $5)
      AND ($6::timestamptz IS NULL OR failed_at >= $6)
      AND failed_at <= $10
    ORDER BY "offset"
    LIMIT $8
) AS part
WHERE bytes <= $9 OR place = 1
ORDER BY "offset"
