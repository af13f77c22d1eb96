-- A position names one message for as long as the topic lives. Where the position is taken already, it is the same
-- message, refused in another group, or a topic that was deleted and created again: the newest message is kept.
INSERT INTO dead_letters
    (topic, group_id, partition, "offset", message_timestamp, key, payload, event_type, target_table, reason, detail,
     sqlstate)
SELECT $1, $12::text, refused.*
FROM unnest($2::integer[], $3::bigint[], $4::timestamptz[], $5::bytea[], $6::bytea[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[]) AS refused
ON CONFLICT (topic, partition, "offset") DO UPDATE
SET failed_at = now(),
    group_id = excluded.group_id,
    message_timestamp = excluded.message_timestamp,
    key = excluded.key,
    payload = excluded.payload,
    event_type = excluded.event_type,
    target_table = excluded.target_table,
    reason = excluded.reason,
    detail = excluded.detail,
    sqlstate = excluded.sqlstate
