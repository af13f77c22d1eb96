-- By the primary key, for failed_at has no index: ids are given in the order of the first refusal.
SELECT partition, "offset", to_char(failed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), reason,
       left(detail, 200), sqlstate
FROM dead_letters
WHERE topic = $2 AND (group_id = $1 OR group_id IS NULL)
ORDER BY id DESC
LIMIT $3
