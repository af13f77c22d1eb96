-- Ends the sessions of consumers that froze in the middle of a COPY: no timeout of PostgreSQL's own ends a COPY that waits
-- for its client, and the fence's locks would be held for as long as the machine is frozen. They are recognised by what
-- they hold, wait for, and since when; should it be a living one after all, it loses an attempt.
SELECT frozen.pid
FROM pg_stat_activity AS frozen
WHERE frozen.usename = current_user
  AND frozen.datname = current_database()
  AND frozen.application_name = 'storage-consumer'
  AND frozen.pid <> pg_backend_pid()
  AND frozen.state = 'active'
  AND frozen.wait_event = 'ClientRead'
  AND frozen.query_start < clock_timestamp() - make_interval(secs => $1)
  AND EXISTS (
      SELECT FROM pg_locks AS held
      WHERE held.pid = frozen.pid
        AND held.relation = 'consumer_offsets'::regclass
        AND held.mode = 'RowExclusiveLock'
        AND held.granted
  )
  AND pg_terminate_backend(frozen.pid)
