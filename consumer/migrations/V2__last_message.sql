-- The message before next_offset: its offset, and Kafka's timestamp of it in milliseconds since the Unix epoch. Another
-- message there means that the topic was deleted and created again, whatever it has grown to since. The offset says which
-- message the timestamp is of: whoever sets next_offset by hand need not know of it.
ALTER TABLE consumer_offsets
    ADD COLUMN IF NOT EXISTS last_offset bigint,
    ADD COLUMN IF NOT EXISTS last_timestamp bigint;
