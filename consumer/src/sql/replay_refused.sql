-- Dead letters that were refused again stay, with what is wrong with them now. failed_at stays, too: that is when the
-- message came.
UPDATE dead_letters AS letter
SET event_type = refused.event_type,
    target_table = refused.target_table,
    reason = refused.reason,
    detail = refused.detail,
    sqlstate = refused.sqlstate
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS refused (id, version, event_type, target_table, reason, detail, sqlstate)
WHERE letter.id = refused.id
  AND letter.xmin::text = refused.version
  AND (letter.event_type, letter.target_table, letter.reason, letter.detail, letter.sqlstate)
      IS DISTINCT FROM (refused.event_type, refused.target_table, refused.reason, refused.detail, refused.sqlstate)
