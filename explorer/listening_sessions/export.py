"""The ratings of a session as one table: a row for each listener and pair that was rated or noted.

In CSV a text that a spreadsheet would run as a formula begins with an apostrophe; numbers stay numbers. Parquet holds
every text as it was.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from explorer.listening_sessions.records import RatingFrames

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SCORES = ("score", "score_norm", "q_value", "above_noise", "place", "chosen")


def table(frames: RatingFrames) -> pd.DataFrame:
    """session, blind, listener, clip_id, prompt, role, track_id, title, composer, start_s (of the excerpt), a column
    for each question (nullable Int64), note, rated_at (of the latest answer), then '<method> <column>' for each
    method's score.
    """
    key = ["listener_id", "nickname", "lane_id"]
    ratings, questions = frames.ratings, list(frames.session.questions)
    wide = ratings.pivot(index=key, columns="question", values="value").reindex(columns=questions)
    latest = ratings.groupby(key)["rated_at"].max()
    rows = wide.join(latest, how="outer").join(frames.notes.set_index(key)["note"], how="outer").reset_index()
    rows = rows.merge(frames.lanes, on="lane_id").sort_values(["listener_id", "lane_id"])
    columns = ["nickname", "clip_id", "prompt", "role", "track_id", "title", "composer"]
    columns += ["start_s", *questions, "note", "rated_at"]
    found = rows[["lane_id", *columns]].astype({name: "Int64" for name in questions})
    found = found.rename(columns={"nickname": "listener"})
    for method, scores in frames.scores.groupby("method", sort=False):
        named = {name: f"{method} {name}" for name in _SCORES}
        found = found.merge(scores[["lane_id", *_SCORES]].rename(columns=named), on="lane_id", how="left")
        flags = {named[name]: "boolean" for name in ("above_noise", "chosen")}
        found = found.astype({**flags, named["place"]: "Int64"})
    found = found.drop(columns="lane_id").reset_index(drop=True)
    found.insert(0, "session", frames.session.title)
    found.insert(1, "blind", frames.session.blind)
    return found


def safe(cell: Any) -> Any:
    """A cell of a CSV file: a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(cell, str):
        risky = cell.startswith(_FORMULA) or cell.lstrip(" \N{NO-BREAK SPACE}").startswith(_FORMULA)
        return f"'{cell}" if risky else cell
    return "" if pd.isna(cell) else cell


def as_csv(found: pd.DataFrame) -> bytes:
    """UTF-8 with a byte order mark, so that spreadsheets read accents."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([safe(name) for name in found.columns])
    writer.writerows([safe(cell) for cell in row] for row in found.itertuples(index=False))
    return text.getvalue().encode("utf-8-sig")


def as_parquet(found: pd.DataFrame) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.parquet"
        with duckdb.connect(":memory:") as con:
            con.register("found", found)
            con.sql("SELECT * FROM found").write_parquet(str(path))
        return path.read_bytes()


KINDS: dict[str, tuple[Callable[[pd.DataFrame], bytes], str]] = {
    "csv": (as_csv, "text/csv; charset=utf-8"),
    "parquet": (as_parquet, "application/vnd.apache.parquet"),
}
