-- What version 3 of the sessions file changes: a track that was not tested has no q-value, and a place is an interval.

CREATE TABLE lane_scores_3 (
    lane_id     INTEGER NOT NULL REFERENCES lanes (lane_id) ON DELETE CASCADE,
    method      TEXT NOT NULL,
    label       TEXT NOT NULL,
    score       REAL NOT NULL,
    score_norm  REAL NOT NULL,
    q_value     REAL,                    -- NULL: not tested
    above_noise INTEGER NOT NULL CHECK (above_noise IN (0, 1)),
    place       INTEGER,                 -- NULL for a decoy
    chosen      INTEGER NOT NULL CHECK (chosen IN (0, 1)),  -- among the k strongest of this method
    place_best  INTEGER,                 -- the places that it may hold by its error, NULL for a decoy, and ...
    place_worst INTEGER,                 -- ... in a session that was made before there were any
    PRIMARY KEY (lane_id, method)
);

INSERT INTO lane_scores_3 SELECT *, NULL, NULL FROM lane_scores;

DROP TABLE lane_scores;

ALTER TABLE lane_scores_3 RENAME TO lane_scores;
