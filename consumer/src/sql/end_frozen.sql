-- Ends the sessions of consumers that froze in the middle of a COPY: no timeout of PostgreSQL's own ends a COPY that waits
-- for its client, and the fence's locks would be held for as long as the machine is frozen. They are recognised by what
-- they hold, wait for, and since when; should it be a living one after all, it loses an attempt.
WITH frozen AS MATERIALIZED (
    SELECT session.pid
    FROM pg_stat_activity AS session
    JOIN pg_locks AS held ON held.pid = session.pid
    WHERE session.usename = current_user
      AND session.datname = current_database()
      AND session.application_name = 'storage-consumer'
      AND session.pid <> pg_backend_pid()
      AND session.state = 'active'
      AND session.wait_event = 'ClientRead'
      AND session.query_start < clock_timestamp() - make_interval(secs => $1)
      AND held.relation = 'consumer_offsets'::regclass
      AND held.mode = 'RowExclusiveLock'
      AND held.granted
)
SELECT pid FROM frozen WHERE pg_terminate_backend(pid)
