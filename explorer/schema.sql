-- The Whence store, version 4: the contract between `precompute` (writes) and `explorer` (reads).
--
-- Conventions. Scores: higher = stronger influence, always. Ranks: 1 = strongest. Units stand in column names
-- (_s seconds, _hz hertz, _lufs, _dbfs). Paths are relative to `store_info.track_root` / `clip_root`, which are
-- themselves relative to the folder that holds the store. Every number is finite; an absent one is NULL, never NaN
-- (`precompute.publish` checks the lists, which a CHECK cannot).

CREATE TABLE store_info (
    version    INTEGER NOT NULL CHECK (version = 4),
    track_root VARCHAR NOT NULL,  -- folder of the tracks' audio, relative to the store's folder
    clip_root  VARCHAR NOT NULL,  -- folder of the clips' audio, relative to the store's folder
    default_method VARCHAR NOT NULL,  -- name of the method that the page opens with
    note       VARCHAR            -- what a reader must know of this run ("2 draws of 8, 40 decoys of 320"), or NULL
);

CREATE TABLE runs (
    run_id        INTEGER PRIMARY KEY,       -- 1: the model of most clips; further ones: models tuned from it
    model_note    VARCHAR,                   -- what sets a tuned model apart: one plain clause; NULL for run 1
    config_toml   VARCHAR NOT NULL,          -- the whole configuration, as text
    versions_json VARCHAR NOT NULL,          -- package versions, JSON object
    commit_hash   VARCHAR,                   -- of the code; NULL outside a git checkout
    model_sha256  VARCHAR NOT NULL,          -- of theta_0: the weights that every score of its clips refers to
    device        VARCHAR NOT NULL,
    started_at    TIMESTAMP NOT NULL,        -- UTC
    duration_s    DOUBLE NOT NULL CHECK (isfinite(duration_s) AND duration_s >= 0)
);

CREATE TABLE tracks (
    track_id            INTEGER PRIMARY KEY,
    is_decoy            BOOLEAN NOT NULL,    -- TRUE: the model never heard it; scored as a control
    planted             VARCHAR,             -- planted case (see data/demo/planted.py), outside decoy statistics
    work_id             VARCHAR NOT NULL,    -- renderings of one work share it
    title               VARCHAR NOT NULL,
    composer            VARCHAR NOT NULL,
    collection          VARCHAR NOT NULL,
    rights_holder       VARCHAR NOT NULL,
    licence_composition VARCHAR NOT NULL,
    licence_encoding    VARCHAR NOT NULL,
    licence_rendering   VARCHAR NOT NULL,
    licence_evidence    VARCHAR NOT NULL,
    source              VARCHAR NOT NULL,
    instrument          VARCHAR NOT NULL,
    caption             VARCHAR NOT NULL,    -- the text the model was trained with
    duration_s          DOUBLE NOT NULL CHECK (isfinite(duration_s) AND duration_s > 0),
    audition            VARCHAR NOT NULL CHECK (audition IN ('full', 'excerpt', 'none')),
    audio_path          VARCHAR,             -- relative to track_root; NULL where no audio is at hand
    audio_sha256        VARCHAR,
    loudness_lufs       DOUBLE CHECK (loudness_lufs IS NULL OR isfinite(loudness_lufs)),  -- integrated, BS.1770
    peak_dbfs           DOUBLE CHECK (peak_dbfs IS NULL OR isfinite(peak_dbfs)),
    peaks               UTINYINT[],          -- waveform for drawing: largest magnitude per bin, 255 = full scale
    isrc                VARCHAR,             -- of the recording, where known
    iswc                VARCHAR              -- of the work, where known
);

-- Who holds rights in a track, or made it: any number a track. `tracks.rights_holder` is the summary for display.
CREATE TABLE holders (
    track_id INTEGER NOT NULL REFERENCES tracks (track_id),
    holder   VARCHAR NOT NULL,
    role     VARCHAR NOT NULL,               -- 'composer', 'performer', 'label', 'publisher', 'rights holder', ...
    PRIMARY KEY (track_id, holder, role)
);

CREATE TABLE clips (
    clip_id         INTEGER PRIMARY KEY,
    run_id          INTEGER NOT NULL REFERENCES runs (run_id),  -- whose model made it and is asked
    kind            VARCHAR NOT NULL CHECK (kind IN ('generated', 'track', 'user')),
    target_track_id INTEGER REFERENCES tracks (track_id),  -- kind 'track': the training track that was unlearned
    prompt          VARCHAR,
    conditioning    VARCHAR NOT NULL CHECK (conditioning IN ('prompt', 'clap_audio', 'empty')),
    seed            BIGINT,
    duration_s      DOUBLE NOT NULL CHECK (isfinite(duration_s) AND duration_s > 0),
    audio_path      VARCHAR,                 -- relative to clip_root; kind 'track' uses its track's audio
    audio_sha256    VARCHAR,
    loudness_lufs   DOUBLE CHECK (loudness_lufs IS NULL OR isfinite(loudness_lufs)),
    peak_dbfs       DOUBLE CHECK (peak_dbfs IS NULL OR isfinite(peak_dbfs)),
    peaks           UTINYINT[],
    title           VARCHAR,                 -- kind 'user': the name of the file that was brought; else NULL
    CHECK ((kind = 'track') = (target_track_id IS NOT NULL))
);

CREATE TABLE methods (
    method_id     INTEGER PRIMARY KEY,
    run_id        INTEGER NOT NULL REFERENCES runs (run_id),
    name          VARCHAR NOT NULL UNIQUE,   -- 'unlearning'
    label         VARCHAR NOT NULL,          -- for the page
    description   VARCHAR NOT NULL,          -- one plain sentence
    settings_json VARCHAR NOT NULL,
    has_moments   BOOLEAN NOT NULL,
    reliability   DOUBLE CHECK (reliability BETWEEN -1 AND 1),  -- Spearman correlation of the training tracks' rankings
                                             -- by one half of the draws and by the other, mean over generated clips;
                                             -- NULL where nothing is drawn
    cost_s        DOUBLE CHECK (cost_s IS NULL OR (isfinite(cost_s) AND cost_s >= 0))  -- seconds of the run's device
                                             -- that its scores took, for all clips together; NULL where not measured
);

-- Methods that were asked for and could not run, and why: one plain clause.
CREATE TABLE skipped_methods (
    name   VARCHAR PRIMARY KEY,
    label  VARCHAR NOT NULL,
    reason VARCHAR NOT NULL                  -- 'its checkpoint is not there: ...'
);

-- One row for each (method, clip, track), decoys included, sorted by method, clip, track. The claim *shaped this clip*.
-- Its definition: explorer/store/above_noise.py.
CREATE TABLE scores (
    method_id      INTEGER NOT NULL,
    clip_id        INTEGER NOT NULL,
    track_id       INTEGER NOT NULL,
    score          FLOAT NOT NULL CHECK (isfinite(score)),          -- raw
    std_error      FLOAT NOT NULL CHECK (isfinite(std_error) AND std_error >= 0),  -- of `score`, over noise draws
    score_norm     FLOAT NOT NULL CHECK (isfinite(score_norm)),     -- score / the standard deviation of this track's
                                                                    -- scores over the cohort; no mean is subtracted
    std_error_norm FLOAT NOT NULL CHECK (isfinite(std_error_norm) AND std_error_norm >= 0),  -- of `score_norm`
    match_bin      UTINYINT NOT NULL CHECK (match_bin <= 2),        -- 2: same caption as the clip; 1: same style; 0: other
    p_value        FLOAT CHECK (p_value BETWEEN 0 AND 1),           -- how often a decoy of the bin stands as high; NULL in
                                                                    -- bin 0, and where the bin has too few decoys
    q_value        FLOAT CHECK (q_value BETWEEN 0 AND 1),           -- of the candidates (training tracks of bins 1 and 2):
                                                                    -- the rate of false findings down to this p_value
    above_noise    BOOLEAN NOT NULL,                                -- q_value <= 0.10, of training tracks alone
    rank           INTEGER NOT NULL CHECK (rank >= 1),              -- by score_norm, training tracks and decoys
    train_rank     INTEGER CHECK (train_rank >= 1),                 -- by score_norm, training tracks; decoys NULL
    PRIMARY KEY (method_id, clip_id, track_id)
);

-- What the p-values of a clip's bins rest on: one row for each bin that has candidates.
CREATE TABLE match_bins (
    method_id  INTEGER NOT NULL,
    clip_id    INTEGER NOT NULL,
    match_bin  UTINYINT NOT NULL CHECK (match_bin IN (1, 2)),
    candidates INTEGER NOT NULL CHECK (candidates >= 1),  -- training tracks of the bin
    decoys     INTEGER NOT NULL CHECK (decoys >= 0),      -- decoys of the bin in this clip, which centre and scale it
    null_rows  INTEGER NOT NULL CHECK (null_rows >= 0),   -- (clip, decoy) pairs that a candidate is compared with
    null_works INTEGER NOT NULL CHECK (null_works >= 0),  -- distinct works among them
    can_tell   BOOLEAN NOT NULL,                          -- FALSE: so few that not even a lone track could be found
    PRIMARY KEY (method_id, clip_id, match_bin)
);

-- The claim *shaped the model*: a track's mean normalised score over all clips of run 1, against decoys'. Of the track, not
-- of any clip. Decoys included.
CREATE TABLE track_claims (
    method_id    INTEGER NOT NULL,
    track_id     INTEGER NOT NULL,
    score_mean   FLOAT NOT NULL CHECK (isfinite(score_mean)),  -- mean of score_norm over generated and cohort clips
    p_value      FLOAT CHECK (p_value BETWEEN 0 AND 1),        -- how often a decoy's mean is as high; NULL without decoys
    q_value      FLOAT CHECK (q_value BETWEEN 0 AND 1),        -- of training tracks: rate of false findings down to here
    above_noise  BOOLEAN NOT NULL,                             -- q_value <= 0.10
    clips_above  INTEGER NOT NULL CHECK (clips_above >= 0),    -- generated clips for which it is above noise
    is_hub       BOOLEAN NOT NULL,                             -- above noise for more than a fifth of them, and for three
    PRIMARY KEY (method_id, track_id)
);

-- Which noise levels carry a score: one row for each stratum of t; the 100 best-ranked tracks of a clip.
CREATE TABLE score_parts (
    method_id INTEGER NOT NULL,
    clip_id   INTEGER NOT NULL,
    track_id  INTEGER NOT NULL,
    t_low     DOUBLE NOT NULL,
    t_high    DOUBLE NOT NULL CHECK (t_high > t_low),
    score     FLOAT NOT NULL CHECK (isfinite(score)),    -- the parts of a score have the score as their mean
    PRIMARY KEY (method_id, clip_id, track_id, t_low)
);

-- Influence over time in the TRACK; the best-ranked tracks of a clip.
CREATE TABLE moments (
    method_id INTEGER NOT NULL,
    clip_id   INTEGER NOT NULL,
    track_id  INTEGER NOT NULL,
    rate_hz   DOUBLE NOT NULL CHECK (isfinite(rate_hz) AND rate_hz > 0),
    influence FLOAT[] NOT NULL,              -- value i covers [i, i + 1) / rate_hz seconds of the track
    PRIMARY KEY (method_id, clip_id, track_id)
);

-- Influence over time in the CLIP: what each window of it draws from a track; every track.
CREATE TABLE clip_moments (
    method_id INTEGER NOT NULL,
    clip_id   INTEGER NOT NULL,
    track_id  INTEGER NOT NULL,
    window_s  DOUBLE NOT NULL CHECK (isfinite(window_s) AND window_s > 0),
    influence FLOAT[] NOT NULL,              -- value i covers [i, i + 1) * window_s seconds of the clip
    PRIMARY KEY (method_id, clip_id, track_id)
);

-- How clip and track sound alike, by musical aspect; for each (clip, track) among the first 50 of any method. Resemblance,
-- not influence.
CREATE TABLE aspects (
    clip_id    INTEGER NOT NULL,
    track_id   INTEGER NOT NULL,
    aspect     VARCHAR NOT NULL CHECK (aspect IN ('melody', 'harmony', 'rhythm', 'timbre')),
    percentile DOUBLE NOT NULL CHECK (percentile BETWEEN 0 AND 100),  -- among random pairs of clip and track
    PRIMARY KEY (clip_id, track_id, aspect)
);

-- Is anything copied? Aligned passages of a clip and a track, calibrated on decoys. Copying, not influence.
CREATE TABLE passages (
    clip_id       INTEGER NOT NULL,
    track_id      INTEGER NOT NULL,
    passage       INTEGER NOT NULL CHECK (passage >= 1),     -- 1 = the closest of this pair
    clip_start_s  DOUBLE NOT NULL CHECK (isfinite(clip_start_s) AND clip_start_s >= 0),
    clip_end_s    DOUBLE NOT NULL CHECK (isfinite(clip_end_s) AND clip_end_s > clip_start_s),
    track_start_s DOUBLE NOT NULL CHECK (isfinite(track_start_s) AND track_start_s >= 0),
    track_end_s   DOUBLE NOT NULL CHECK (isfinite(track_end_s) AND track_end_s > track_start_s),
    semitones     INTEGER NOT NULL,                          -- how far the track must be moved to fit the clip
    similarity    DOUBLE NOT NULL CHECK (isfinite(similarity)),  -- higher = closer
    p_value       DOUBLE NOT NULL CHECK (p_value BETWEEN 0 AND 1),  -- how often a decoy comes as close to this clip
    PRIMARY KEY (clip_id, track_id, passage)
);

-- How far two methods agree, means over generated clips, training tracks alone. Both orders of a pair are stored.
CREATE TABLE agreement (
    method_a INTEGER NOT NULL REFERENCES methods (method_id),
    method_b INTEGER NOT NULL REFERENCES methods (method_id),
    pearson  DOUBLE NOT NULL CHECK (pearson BETWEEN -1 AND 1),
    spearman DOUBLE NOT NULL CHECK (spearman BETWEEN -1 AND 1),
    top10    DOUBLE NOT NULL CHECK (top10 BETWEEN 0 AND 1),    -- share of the first 10 that both have
    top100   DOUBLE NOT NULL CHECK (top100 BETWEEN 0 AND 1),
    PRIMARY KEY (method_a, method_b)
);

-- Results of `python -m precompute evaluate ...` on this run's model, as the command keeps them.
CREATE TABLE evaluations (
    name        VARCHAR PRIMARY KEY,         -- 'self-influence'
    result_json VARCHAR NOT NULL
);

-- Derived tables: filled by derived.sql from the tables above when a store is published, so that a page over a large
-- store opens at once.

-- One row for each (method, clip): concentration and certainty. Shares: of the positive score of the training tracks.
CREATE TABLE summaries (
    method_id         INTEGER NOT NULL,
    clip_id           INTEGER NOT NULL,
    tracks            INTEGER NOT NULL,      -- training tracks that were scored
    decoys            INTEGER NOT NULL,      -- decoys that were scored
    above_noise       INTEGER NOT NULL,      -- training tracks above noise
    candidates        INTEGER NOT NULL,      -- training tracks of the same caption or style, which are tested
    can_tell          BOOLEAN NOT NULL,      -- FALSE: no bin has decoys enough for even a lone track to be found
    decoys_top10_raw  INTEGER NOT NULL,      -- decoys among the ten best tracks and decoys by score
    decoys_top10_norm INTEGER NOT NULL,      -- the same by score_norm
    share_top1_raw    DOUBLE CHECK (share_top1_raw BETWEEN 0 AND 1),    -- NULL: no training track has a positive score
    share_top10_raw   DOUBLE CHECK (share_top10_raw BETWEEN 0 AND 1),
    share_top100_raw  DOUBLE CHECK (share_top100_raw BETWEEN 0 AND 1),
    share_top1_norm   DOUBLE CHECK (share_top1_norm BETWEEN 0 AND 1),
    share_top10_norm  DOUBLE CHECK (share_top10_norm BETWEEN 0 AND 1),
    share_top100_norm DOUBLE CHECK (share_top100_norm BETWEEN 0 AND 1),
    largest_raw       DOUBLE NOT NULL CHECK (isfinite(largest_raw)),    -- the largest magnitude of score
    auc_norm          DOUBLE CHECK (auc_norm BETWEEN 0 AND 1),          -- how often a training track stands above a decoy,
                                             -- planted cases apart; 0.5 = chance; NULL without decoys
    spark             FLOAT[] NOT NULL,      -- score_norm of training tracks at 40 log-spaced places, strongest first
    PRIMARY KEY (method_id, clip_id)
);

-- Sums over all windows of clip_moments of one track: what a span of a clip is compared with.
CREATE TABLE window_sums (
    method_id     INTEGER NOT NULL,
    track_id      INTEGER NOT NULL,
    windows       INTEGER NOT NULL CHECK (windows > 0),
    total         DOUBLE NOT NULL CHECK (isfinite(total)),
    total_squares DOUBLE NOT NULL CHECK (isfinite(total_squares) AND total_squares >= 0),
    PRIMARY KEY (method_id, track_id)
);

-- What the run found about itself, good or bad: decoys near the top, share of the top, R, correlations.
CREATE TABLE diagnostics (
    method_id       INTEGER NOT NULL,
    checkpoint_step INTEGER NOT NULL,        -- training step of the weights; the largest is theta_0
    name            VARCHAR NOT NULL,        -- 'decoys_top10_raw'
    value           DOUBLE NOT NULL CHECK (isfinite(value)),
    meaning         VARCHAR NOT NULL,        -- one plain clause with the unit
    PRIMARY KEY (method_id, checkpoint_step, name)
);
