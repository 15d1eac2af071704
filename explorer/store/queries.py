"""The longer queries of store.py."""

from __future__ import annotations

CLIP = (
    "SELECT c.clip_id, c.kind, c.target_track_id, coalesce(c.prompt, c.title), c.seed, c.duration_s, t.title"
    " FROM clips c LEFT JOIN tracks t ON t.track_id = c.target_track_id"
)
LICENCE = (
    "CASE WHEN licence_composition = licence_encoding AND licence_encoding = licence_rendering THEN licence_rendering"
    " ELSE 'composition: ' || licence_composition || ' · encoding: ' || licence_encoding || ' · rendering: '"
    " || licence_rendering END"
)
TRACK = (
    f"SELECT track_id, is_decoy, planted, title, composer, collection, rights_holder, {LICENCE}, source,"
    " instrument, duration_s, audition, audio_path IS NOT NULL FROM tracks"
)
SCORES = (
    "SELECT track_id, train_rank IS NULL AS is_decoy, score, std_error, score_norm, std_error_norm, q_value,"
    " above_noise, rank{} FROM scores WHERE method_id = ? AND clip_id = ?"
)
SUMMARY = (
    "SELECT clip_id, tracks, decoys, above_noise, decoys_above, threshold_norm, decoys_top10_raw, decoys_top10_norm,"
    " share_top1_raw, share_top10_raw, share_top100_raw, share_top1_norm, share_top10_norm, share_top100_norm,"
    " largest_raw, auc_norm, decoys_swapped, spark FROM summaries"
)
# Own windows are taken out of the sums, so that a clip is compared with the others alone.
SPAN = """
WITH own AS (
    SELECT method_id, track_id, list_sum(influence[?:?])::DOUBLE AS total, len(influence) AS count,
        list_sum(influence::DOUBLE[]) AS sum, list_inner_product(influence::DOUBLE[], influence::DOUBLE[]) AS squares
    FROM clip_moments WHERE method_id = ? AND clip_id = ?
),
other AS (
    SELECT track_id, own.total, alone,
        CASE WHEN alone THEN count ELSE windows - count END AS windows,
        CASE WHEN alone THEN sum ELSE s.total - sum END AS sum,
        CASE WHEN alone THEN squares ELSE total_squares - squares END AS squares
    FROM own JOIN window_sums s USING (method_id, track_id),
        LATERAL (SELECT s.windows - own.count < 2 AS alone)
)
SELECT track_id, total, windows, sum / windows AS mean,
    sqrt(greatest(0, squares - sum * sum / windows) / greatest(1, windows - 1)) AS spread
FROM other
"""
TRACK_SOUND = (
    "SELECT duration_s, audio_path, false, audition, loudness_lufs, peak_dbfs, peaks FROM tracks WHERE track_id = ?"
)
CLIP_SOUND = (
    "SELECT target_track_id, duration_s, audio_path, true, 'full', loudness_lufs, peak_dbfs, peaks"
    " FROM clips WHERE clip_id = ?"
)
LISTENABLE = (
    "SELECT track_id, is_decoy, planted, work_id, if(audition = 'excerpt', least(duration_s, ?), duration_s) AS heard_s"
    " FROM tracks WHERE audition <> 'none' AND audio_path IS NOT NULL ORDER BY track_id"
)
