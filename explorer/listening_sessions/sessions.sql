-- The sessions file as of version 1 (SQLite; `user_version` holds the version); sessions_2.sql goes on from here.
-- Written by one process at a time.
--
-- Kept of a listener: the nickname, the order of the pairs, the answers and notes, and when they were given. No address,
-- no browser. Titles and scores are copied when a session is made, so that results do not change with the store.
-- Times are UTC, ISO 8601. Scores: higher = stronger influence; places: 1 = strongest training track.

CREATE TABLE sessions (
    session_id INTEGER PRIMARY KEY,
    code       TEXT NOT NULL UNIQUE,     -- of the link; whoever has it may join
    title      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'closed', 'revealed')),  -- ratings are taken while 'open'
    blind      INTEGER NOT NULL CHECK (blind IN (0, 1)),
    questions  TEXT NOT NULL,            -- JSON list of names
    consent    TEXT NOT NULL,            -- the sentence that listeners agreed to
    settings   TEXT NOT NULL,            -- JSON: how the pairs were chosen, and what was left out
    store_key  TEXT NOT NULL,            -- of the store that ids refer to
    created_at TEXT NOT NULL
);

CREATE TABLE trials (
    trial_id   INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    clip_id    INTEGER NOT NULL,
    prompt     TEXT NOT NULL,
    seconds    REAL NOT NULL CHECK (seconds > 0),   -- of every excerpt of this trial
    channels   INTEGER NOT NULL CHECK (channels IN (1, 2))
);

-- What is heard in a trial: the clip, and everything that it is compared with.
CREATE TABLE lanes (
    lane_id    INTEGER PRIMARY KEY,
    trial_id   INTEGER NOT NULL REFERENCES trials (trial_id) ON DELETE CASCADE,
    token      TEXT NOT NULL UNIQUE,     -- all that a listener's browser knows of it
    role       TEXT NOT NULL CHECK (role IN ('clip', 'top', 'random', 'decoy', 'duplicate', 'match')),
    track_id   INTEGER,                  -- NULL: the clip itself ('clip', 'match')
    title      TEXT NOT NULL,
    composer   TEXT NOT NULL,
    start_s    REAL NOT NULL CHECK (start_s >= 0),
    gain_db    REAL NOT NULL,            -- matches the loudness of the trial's excerpts
    CHECK ((track_id IS NULL) = (role IN ('clip', 'match')))
);

CREATE TABLE lane_scores (
    lane_id     INTEGER NOT NULL REFERENCES lanes (lane_id) ON DELETE CASCADE,
    method      TEXT NOT NULL,
    label       TEXT NOT NULL,
    score       REAL NOT NULL,
    score_norm  REAL NOT NULL,
    q_value     REAL NOT NULL,
    above_noise INTEGER NOT NULL CHECK (above_noise IN (0, 1)),
    place       INTEGER,                 -- NULL for a decoy
    chosen      INTEGER NOT NULL CHECK (chosen IN (0, 1)),  -- among the k strongest of this method
    PRIMARY KEY (lane_id, method)
);

CREATE TABLE listeners (
    listener_id INTEGER PRIMARY KEY,
    session_id  INTEGER NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    nickname    TEXT NOT NULL COLLATE NOCASE,
    token_hash  BLOB NOT NULL UNIQUE,    -- SHA-256 of the cookie
    pairs       TEXT NOT NULL,           -- JSON: lane ids in this listener's order
    joined_at   TEXT NOT NULL,           -- and agreed to the consent sentence
    UNIQUE (session_id, nickname)
);

CREATE TABLE ratings (
    listener_id INTEGER NOT NULL REFERENCES listeners (listener_id) ON DELETE CASCADE,
    lane_id     INTEGER NOT NULL REFERENCES lanes (lane_id) ON DELETE CASCADE,
    question    TEXT NOT NULL,
    value       INTEGER NOT NULL CHECK (value BETWEEN 1 AND 5),
    rated_at    TEXT NOT NULL,
    PRIMARY KEY (listener_id, lane_id, question)
);

CREATE TABLE notes (
    listener_id INTEGER NOT NULL REFERENCES listeners (listener_id) ON DELETE CASCADE,
    lane_id     INTEGER NOT NULL REFERENCES lanes (lane_id) ON DELETE CASCADE,
    note        TEXT NOT NULL,
    PRIMARY KEY (listener_id, lane_id)
);
