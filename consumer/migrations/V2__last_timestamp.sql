-- Kafka's timestamp of the message before next_offset, in milliseconds since the Unix epoch. Another message there means
-- that the topic was deleted and created again, whatever it has grown to since.
ALTER TABLE consumer_offsets ADD COLUMN IF NOT EXISTS last_timestamp bigint;
