"""The rows of a report as CSV and Parquet files. One row a pair of clip and track; column names hold their units.

Spreadsheets run cells that begin like a formula: in CSV such texts get an apostrophe in front (OWASP, CSV injection).
Parquet holds texts as they are.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from explorer.holders.pairs import PairDetails
from explorer.report.records import Evidence
from explorer.store.records import TrackClaim
from explorer.text.clips import name_clip

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_DETAILS = ("work_id", "isrc", "iswc", "licence_evidence", "audio_sha256")


def _describe_pair(evidence: Evidence, pair: PairDetails) -> dict[str, Any]:
    clip, track = pair.clip, pair.track
    details = evidence.track_details.get(track.track_id, {})
    return {
        "clip_id": clip.clip_id,
        "clip": name_clip(clip),
        "track_id": track.track_id,
        "is_decoy": pair.place is None,
        "place": pair.place,
        "place_best": pair.places[0],
        "place_worst": pair.places[1],
        "title": track.title,
        "composer": track.composer,
        "collection": track.collection,
        "rights_holder": track.rights_holder,
        "holders": pair.people,
        "licence": track.licence,
        "source": track.source,
        **{name: details.get(name) for name in _DETAILS},
        "renderings": pair.renderings,
        "score": pair.score,
        "std_error": pair.std_error,
        "score_norm": pair.score_norm,
        "std_error_norm": pair.std_error_norm,
        "match_bin": pair.match_bin,
        "p_value": pair.p_value,
        "q_value": pair.q_value,
        "above_noise": pair.above_noise,
        **_describe_claim(pair.claim),
        "clip_from_s": pair.clip_at[0] if pair.clip_at else None,
        "clip_to_s": pair.clip_at[1] if pair.clip_at else None,
        "track_from_s": pair.track_at[0] if pair.track_at else None,
        "track_to_s": pair.track_at[1] if pair.track_at else None,
        "audition": track.audition,
    }


def _describe_claim(claim: TrackClaim | None) -> dict[str, Any]:
    """The claim *shaped the model*, of the track alone."""
    q_value = None if claim is None or math.isnan(claim.q_value) else claim.q_value
    return {
        "model_q_value": q_value,
        "model_above_noise": bool(claim and claim.above_noise),
        "clips_above_noise": claim.clips_above if claim else None,
        "is_hub": bool(claim and claim.is_hub),
    }


_INTEGERS = (
    *("clip_id", "track_id", "place", "place_best", "place_worst", "renderings"),
    *("match_bin", "clips_above_noise"),
)
_REALS = (
    *("score", "std_error", "score_norm", "std_error_norm", "p_value", "q_value", "model_q_value"),
    *("clip_from_s", "clip_to_s", "track_from_s", "track_to_s"),
)
_FLAGS = ("is_decoy", "above_noise", "model_above_noise", "is_hub")


def build_frame(evidence: Evidence) -> pd.DataFrame:
    """The rows, typed; a column keeps its type where it is empty."""
    rows = pd.DataFrame([_describe_pair(evidence, pair) for pair in evidence.rows])
    types: dict[str, str] = dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys(_REALS, "float64")
    types |= dict.fromkeys(_FLAGS, "bool")
    return rows.astype({name: types.get(name, "string") for name in rows.columns})


def format_csv(evidence: Evidence) -> str:
    """CSV with a header, quoted where needed; a text that a spreadsheet would run begins with an apostrophe."""
    written = io.StringIO()
    rows = [_describe_pair(evidence, pair) for pair in evidence.rows]
    writer = csv.writer(written, lineterminator="\r\n")  # RFC 4180
    writer.writerow(rows[0] if rows else [])
    for row in rows:
        writer.writerow([escape_formula(value) if isinstance(value, str) else value for value in row.values()])
    return written.getvalue()


def escape_formula(text: str) -> str:
    """`text`, with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" \ufeff\xa0").startswith(_DANGEROUS) or text.startswith(_DANGEROUS) else text


def write_parquet(evidence: Evidence, path: Path) -> None:
    """Write the rows as Parquet. Raises OSError, or duckdb.IOException, where it cannot be written."""
    rows = build_frame(evidence)
    with duckdb.connect(":memory:") as con:
        con.register("rows", rows)
        place = str(path).replace("'", "''")
        con.execute(f"COPY rows TO '{place}' (FORMAT parquet)")
