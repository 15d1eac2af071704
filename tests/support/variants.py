"""Changes of the small store: a clip of a tuned model, a clip without decoys enough, a hub. Each takes a connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

TUNED_CLIP, EXEMPLARS = 5, (41, 42)  # decoys of run 1 that the second model was tuned on
MODEL_NOTE = "tuned on two recordings: <b>Prelude</b> and Waltz"
SCARCE_CLIP = 2
HUB = 2
DERIVED = Path(__file__).resolve().parents[2] / "explorer/derived.sql"


def publish_again(con: Any) -> None:
    """Fill the derived tables from the others, as they are now."""
    for table in ("summaries", "window_sums"):
        con.execute(f"DELETE FROM {table}")
    con.execute(DERIVED.read_text(encoding="utf-8"))


def add_tuned_clip(path: Path) -> None:
    """Clip 5 is clip 1 as a model made it that was tuned on two decoys: these are training tracks there, and first."""
    with duckdb.connect(str(path)) as con:
        con.execute("INSERT INTO runs SELECT * REPLACE (2 AS run_id, ? AS model_note) FROM runs", [MODEL_NOTE])
        con.execute(
            f"INSERT INTO clips SELECT * REPLACE ({TUNED_CLIP} AS clip_id, 2 AS run_id) FROM clips WHERE clip_id = 1"
        )
        ids = ", ".join(map(str, EXEMPLARS))
        con.execute(
            f"""
            INSERT INTO scores WITH changed AS (
                SELECT * REPLACE ({TUNED_CLIP} AS clip_id, score_norm + CASE WHEN track_id IN ({ids}) THEN 20 ELSE 0 END
                    AS score_norm, CASE WHEN track_id IN ({ids}) THEN 2 ELSE match_bin END AS match_bin,
                    CASE WHEN track_id IN ({ids}) THEN 0.001 ELSE p_value END AS p_value,
                    CASE WHEN track_id IN ({ids}) THEN 0.01 ELSE q_value END AS q_value,
                    above_noise OR track_id IN ({ids}) AS above_noise)
                FROM scores WHERE clip_id = 1
            )
            SELECT * REPLACE (
                row_number() OVER (PARTITION BY method_id ORDER BY score_norm DESC, track_id) AS rank,
                CASE WHEN train_rank IS NOT NULL OR track_id IN ({ids}) THEN row_number() OVER (PARTITION BY method_id,
                    train_rank IS NOT NULL OR track_id IN ({ids}) ORDER BY score_norm DESC, track_id) END AS train_rank)
            FROM changed
            """
        )
        con.execute(
            f"INSERT INTO match_bins SELECT * REPLACE ({TUNED_CLIP} AS clip_id) FROM match_bins WHERE clip_id = 1"
        )
        con.execute(f"UPDATE match_bins SET candidates = candidates + 2 WHERE clip_id = {TUNED_CLIP} AND match_bin = 2")
        publish_again(con)


def spare_decoys(path: Path) -> None:
    """For clip 2 decoys are too few: of its caption there are few comparisons, of its style hardly any decoy."""
    with duckdb.connect(str(path)) as con:
        con.execute(f"UPDATE scores SET above_noise = false, q_value = 1 WHERE clip_id = {SCARCE_CLIP} AND q_value < 1")
        con.execute(f"UPDATE scores SET p_value = NULL, q_value = NULL WHERE clip_id = {SCARCE_CLIP} AND match_bin = 1")
        con.execute(
            f"UPDATE match_bins SET can_tell = false, null_rows = 24, null_works = 8 WHERE clip_id = {SCARCE_CLIP}"
        )
        con.execute(
            f"UPDATE match_bins SET decoys = 2, null_rows = 0, null_works = 0 WHERE clip_id = {SCARCE_CLIP}"
            " AND match_bin = 1"
        )
        publish_again(con)


def mark_hub(path: Path) -> None:
    """Track 2 is above noise for all three generated clips, says the store."""
    with duckdb.connect(str(path)) as con:
        con.execute(f"UPDATE track_claims SET clips_above = 3, is_hub = true WHERE track_id = {HUB}")
