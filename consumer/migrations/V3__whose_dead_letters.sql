-- The group whose consumer refused the message: a replay moves the counts of that group. NULL: refused before this
-- migration, when no group was noted.
ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS group_id text COLLATE "C";
