-- What version 2 of the sessions file adds to sessions.sql: a way back for a listener on another device.
--
-- The resume code itself is kept nowhere: only the listener has it. A new one makes the old one worthless.

ALTER TABLE listeners ADD COLUMN resume_hash BLOB;  -- SHA-256 of the resume code; NULL: joined before there were any

CREATE UNIQUE INDEX resume_codes ON listeners (session_id, resume_hash);

-- Browsers that came in by a resume code; the one that joined stands in listeners.token_hash.
CREATE TABLE browsers (
    token_hash  BLOB PRIMARY KEY,        -- SHA-256 of the cookie
    listener_id INTEGER NOT NULL REFERENCES listeners (listener_id) ON DELETE CASCADE
);
