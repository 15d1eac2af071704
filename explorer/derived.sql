-- Fills the derived tables of schema.sql from the others. Run once, before a store is published.

INSERT INTO summaries BY NAME
WITH placed AS (
    SELECT *,
        train_rank IS NULL AS is_decoy,
        row_number() OVER (PARTITION BY method_id, clip_id ORDER BY score DESC, track_id) AS raw_rank,
        row_number() OVER (PARTITION BY method_id, clip_id, train_rank IS NULL ORDER BY score DESC, track_id) AS raw_place
    FROM scores
),
counted AS (
    SELECT method_id, clip_id,
        count(*) FILTER (NOT is_decoy) AS tracks,
        count(*) FILTER (is_decoy) AS decoys,
        count(*) FILTER (above_noise AND NOT is_decoy) AS above_noise,
        max(abs(score)) AS largest_raw,
        count(*) FILTER (is_decoy AND raw_rank <= 10) AS decoys_top10_raw,
        count(*) FILTER (is_decoy AND rank <= 10) AS decoys_top10_norm,
        sum(greatest(score, 0)) FILTER (NOT is_decoy) AS positive_raw,
        coalesce(sum(greatest(score, 0)) FILTER (NOT is_decoy AND raw_place <= 1), 0) AS top1_raw,
        coalesce(sum(greatest(score, 0)) FILTER (NOT is_decoy AND raw_place <= 10), 0) AS top10_raw,
        coalesce(sum(greatest(score, 0)) FILTER (NOT is_decoy AND raw_place <= 100), 0) AS top100_raw,
        sum(greatest(score_norm, 0)) FILTER (NOT is_decoy) AS positive_norm,
        coalesce(sum(greatest(score_norm, 0)) FILTER (train_rank <= 1), 0) AS top1_norm,
        coalesce(sum(greatest(score_norm, 0)) FILTER (train_rank <= 10), 0) AS top10_norm,
        coalesce(sum(greatest(score_norm, 0)) FILTER (train_rank <= 100), 0) AS top100_norm
    FROM placed
    GROUP BY method_id, clip_id
),
standing AS (  -- how many stand at least as high, of the same kind and of both: ranks, since frames are slow to sum
    SELECT s.method_id, s.clip_id, s.train_rank IS NULL AS is_decoy,
        count(*) OVER kind - rank() OVER (kind ORDER BY s.score_norm) + 1 AS kind_above,
        count(*) OVER clip - rank() OVER (clip ORDER BY s.score_norm) + 1 AS all_above,
        count(*) OVER kind AS of_kind, count(*) OVER clip AS of_both
    FROM scores s JOIN tracks t USING (track_id)
    WHERE t.planted IS NULL
    WINDOW clip AS (PARTITION BY s.method_id, s.clip_id),
        kind AS (PARTITION BY s.method_id, s.clip_id, s.train_rank IS NULL)
),
tested AS (
    SELECT method_id, clip_id, sum(candidates) AS candidates, bool_or(can_tell) AS can_tell
    FROM match_bins GROUP BY method_id, clip_id
),
fair AS (
    SELECT method_id, clip_id, avg(1 - (all_above - kind_above) / (of_both - of_kind)) AS auc_norm
    FROM standing
    WHERE NOT is_decoy AND of_both > of_kind
    GROUP BY method_id, clip_id
),
sampled AS (  -- the 40 places of a spark line, for each count of tracks
    SELECT tracks, step, CAST(round(pow(tracks, step / 39.0)) AS INTEGER) AS place
    FROM (SELECT DISTINCT tracks FROM counted WHERE tracks > 0), range(40) AS steps (step)
),
sparks AS (
    SELECT s.method_id, s.clip_id, list(s.score_norm ORDER BY p.step) AS spark
    FROM counted c
    JOIN sampled p USING (tracks)
    JOIN scores s ON s.method_id = c.method_id AND s.clip_id = c.clip_id AND s.train_rank = p.place
    GROUP BY s.method_id, s.clip_id
)
SELECT method_id, clip_id, tracks, decoys, above_noise, coalesce(candidates, 0) AS candidates,
    coalesce(can_tell, false) AS can_tell, decoys_top10_raw, decoys_top10_norm,
    -- least(1, ...): sums in another order may differ in the last digit
    least(1, top1_raw / nullif(positive_raw, 0)) AS share_top1_raw,
    least(1, top10_raw / nullif(positive_raw, 0)) AS share_top10_raw,
    least(1, top100_raw / nullif(positive_raw, 0)) AS share_top100_raw,
    least(1, top1_norm / nullif(positive_norm, 0)) AS share_top1_norm,
    least(1, top10_norm / nullif(positive_norm, 0)) AS share_top10_norm,
    least(1, top100_norm / nullif(positive_norm, 0)) AS share_top100_norm,
    largest_raw, auc_norm, coalesce(spark, []) AS spark
FROM counted
LEFT JOIN fair USING (method_id, clip_id)
LEFT JOIN tested USING (method_id, clip_id)
LEFT JOIN sparks USING (method_id, clip_id)
ORDER BY method_id, clip_id;

INSERT INTO window_sums BY NAME
SELECT method_id, track_id, count(*) AS windows, sum(value) AS total, sum(value * value) AS total_squares
FROM (SELECT method_id, track_id, CAST(unnest(influence) AS DOUBLE) AS value FROM clip_moments)
GROUP BY method_id, track_id
ORDER BY method_id, track_id;
