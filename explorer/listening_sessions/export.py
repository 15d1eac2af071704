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
from explorer.report.row_files import escape_formula

_PLACES = ("place", "place_best", "place_worst")
_SCORES = ("score", "score_norm", "q_value", "above_noise", *_PLACES, "chosen")


def build_table(frames: RatingFrames) -> pd.DataFrame:
    """One row a listener and pair.

    Columns: session, blind, listener, clip_id, prompt, role, track_id, title, composer, start_s (of the excerpt), a
    column for each question (nullable Int64), note, rated_at (of the latest answer), then '<method> <column>' for each
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
    table = rows[["lane_id", *columns]].astype({name: "Int64" for name in questions})
    table = table.rename(columns={"nickname": "listener"})
    for method, scores in frames.scores.groupby("method", sort=False):
        renamed = {name: f"{method} {name}" for name in _SCORES}
        table = table.merge(scores[["lane_id", *_SCORES]].rename(columns=renamed), on="lane_id", how="left")
        flags = {renamed[name]: "boolean" for name in ("above_noise", "chosen")}
        table = table.astype({**flags, **{renamed[name]: "Int64" for name in _PLACES}})
    table = table.drop(columns="lane_id").reset_index(drop=True)
    table.insert(0, "session", frames.session.title)
    table.insert(1, "blind", frames.session.blind)
    return table


def escape_cell(cell: Any) -> Any:
    """A cell of a CSV file: a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(cell, str):
        return escape_formula(cell)
    return "" if pd.isna(cell) else cell


def write_csv(table: pd.DataFrame) -> bytes:
    """UTF-8 with a byte order mark, so that spreadsheets read accents."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([escape_cell(name) for name in table.columns])
    writer.writerows([escape_cell(cell) for cell in row] for row in table.itertuples(index=False))
    return text.getvalue().encode("utf-8-sig")


def write_parquet(table: pd.DataFrame) -> bytes:
    """A Parquet file; texts stay as they are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.parquet"
        with duckdb.connect(":memory:") as con:
            con.register("ratings", table)
            con.sql("SELECT * FROM ratings").write_parquet(str(path))
        return path.read_bytes()


KINDS: dict[str, tuple[Callable[[pd.DataFrame], bytes], str]] = {
    "csv": (write_csv, "text/csv; charset=utf-8"),
    "parquet": (write_parquet, "application/vnd.apache.parquet"),
}
