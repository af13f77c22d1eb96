-- What a replay would take: the selected dead letters of the group by partition and reason. Those whose group was not noted
-- (before migration V3) may be its own: the counts say so when they are moved.
SELECT partition, reason, count(*)
FROM dead_letters
WHERE topic = $1
  AND (group_id = $2 OR group_id IS NULL)
  AND ($3::integer IS NULL OR partition = $3)
  AND ($4::bigint IS NULL OR "offset" = $4)
  AND ($5::text IS NULL OR reason = $5)
  AND ($6::timestamptz IS NULL OR failed_at >= $6)
GROUP BY 1, 2
ORDER BY 1, 2
