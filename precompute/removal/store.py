"""A new version of a published store without some tracks.

It is written from nothing, row by row, so that no byte of what was taken out lies in its free space.

What goes: every row that names such a track, in every table; a control clip that *is* such a track, with all its rows.
What is made again, from what is left: rank and train_rank (1 ... n without a gap); score_norm and std_error_norm, of
which the last step compares a clip's score with the regular training tracks of the clip (t-norm), so that they have
mean 0 and deviation 1 again; q_value and above_noise, which count tracks and decoys; summaries and window_sums
(derived.sql). What stays as it was, because what it rests on is not in the store: raw scores (each rests on its own
track, the clip and the model alone); the earlier steps of normalisation, which had the track among many when common
modes were found; the percentiles of aspects and the p-values of passages; agreement, diagnostics and evaluations,
which tell of the run as it was. An evaluation that names such a track goes as a whole: its shape is its own, and
nothing is cut out of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.store import contract
from precompute.removal.report import MODEL_NOTE
from precompute.significance.normalisation import LEAST_SPREAD
from precompute.significance.verdicts import TrackMasks, reach_verdicts
from precompute.store.publication import DERIVED_TABLES, SCHEMA, finish_store, write_new_version

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REMADE = ("score_norm", "std_error_norm", "q_value", "above_noise", "rank", "train_rank")  # columns of `scores`


def write_store_without(store: Path, ids: Sequence[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Write the new version and rename it into place; (clips, evaluations) that are not in it. Raises UserError."""
    with write_new_version(store, _count_scores(store)) as con:
        con.execute(SCHEMA.read_text(encoding="utf-8"))
        con.execute(_write_attach_sql(store))
        con.execute("CREATE TEMP TABLE gone AS SELECT unnest(?::INTEGER[]) AS track_id", [list(ids)])
        con.execute(
            "CREATE TEMP TABLE gone_clips AS SELECT clip_id FROM old.clips"
            " WHERE target_track_id IN (SELECT track_id FROM gone)"
        )
        evaluations = _find_evaluations(con, ids)
        con.execute("CREATE TEMP TABLE gone_names AS SELECT unnest(?::VARCHAR[]) AS name", [evaluations])
        for table in _list_copied_tables(con):
            con.execute(_write_copy_sql(table))
        _write_scores(con)
        _add_note(con, len(ids))
        clips = tuple(row[0] for row in con.execute("FROM gone_clips ORDER BY clip_id").fetchall())
        con.execute("DETACH old")
        finish_store(con)
    return clips, tuple(evaluations)


def _count_scores(store: Path) -> int:
    import duckdb

    with duckdb.connect() as con:  # attached, since a reader of this process may have the file open in its own way
        con.execute(_write_attach_sql(store))
        [(count,)] = con.execute("SELECT count(*) FROM old.scores").fetchall()
    return int(count)


def _write_attach_sql(store: Path) -> str:
    quoted = str(store).replace("'", "''")
    return f"ATTACH '{quoted}' AS old (READ_ONLY)"


def _list_copied_tables(con: DuckDBPyConnection) -> list[str]:
    """Every table that is copied, in the order of schema.sql, which satisfies the foreign keys; scores come apart."""
    names = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE NOT temporary AND database_name <> 'old'"
    ).fetchall()
    schema = SCHEMA.read_text(encoding="utf-8")
    order = sorted((name for (name,) in names), key=lambda name: schema.index(f"CREATE TABLE {name} ("))
    return [name for name in order if name not in (*DERIVED_TABLES, "scores")]


def _write_copy_sql(table: str) -> str:
    """SQL that copies what stays of a table. What goes is never written: a deleted row would stay in the file."""
    columns = contract()[table]
    keys = [
        ("track_id", "gone", "track_id"),
        ("clip_id", "gone_clips", "clip_id"),
        ("target_track_id", "gone", "track_id"),
    ]
    if table == "evaluations":
        keys = [("name", "gone_names", "name")]
    where = [f"({c} IS NULL OR {c} NOT IN (SELECT {k} FROM {t}))" for c, t, k in keys if c in columns]
    return f"INSERT INTO {table} BY NAME SELECT * FROM old.{table} WHERE {' AND '.join(where) or 'true'}"


def _find_evaluations(con: DuckDBPyConnection, ids: Sequence[int]) -> list[str]:
    """Evaluations in which one of these tracks is named, by its title or as a track's id."""
    titles = [row[0] for row in con.execute("SELECT title FROM old.tracks JOIN gone USING (track_id)").fetchall()]
    evaluations = con.execute("SELECT name, result_json FROM old.evaluations ORDER BY name").fetchall()
    return [name for name, text in evaluations if _mentions_track(_parse(text), set(ids), titles)]


def _parse(text: str) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _mentions_track(value: Any, ids: set[int], titles: Sequence[str], key: str = "") -> bool:
    """True where a value of JSON, found under `key`, names one of the tracks."""
    if isinstance(value, dict):
        numbered = any(name.isdecimal() and int(name) in ids for name in value) and "track" in key
        return numbered or any(_mentions_track(inner, ids, titles, name) for name, inner in value.items())
    if isinstance(value, list):
        return any(_mentions_track(inner, ids, titles, key) for inner in value)
    if isinstance(value, str):
        return any(title and title in value for title in titles)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and value in ids and ("track" in key or "target" in key)


def _write_scores(con: DuckDBPyConnection) -> None:
    """Table `scores` of what stays, with ranks, t-norm, q-values and badges made again, clip by clip."""
    import pyarrow

    pairs = con.execute(
        "SELECT DISTINCT method_id, clip_id FROM old.scores WHERE clip_id NOT IN (FROM gone_clips) ORDER BY ALL"
    ).fetchall()
    for method_id, clip_id in pairs:
        columns = con.execute(
            "SELECT s.*, t.is_decoy, t.planted IS NULL AS regular FROM old.scores s JOIN old.tracks t USING (track_id)"
            " WHERE s.method_id = ? AND s.clip_id = ? AND s.track_id NOT IN (FROM gone) ORDER BY s.track_id",
            [method_id, clip_id],
        ).fetchnumpy()
        remade = recalibrate_scores(columns)
        con.register("remade", pyarrow.table({name: pyarrow.array(values) for name, values in remade.items()}))
        con.execute("INSERT INTO scores BY NAME SELECT * REPLACE (nullif(train_rank, 0) AS train_rank) FROM remade")
        con.unregister("remade")


def recalibrate_scores(columns: dict[str, Any]) -> dict[str, np.ndarray]:
    """Columns of `scores` of one method and clip, arrays [N] over the tracks that are left, made whole again.

    Beside those of the table: is_decoy, regular (not a planted case). The order of ranks stays; train_rank is 0 for
    decoys. Without two regular training tracks the normalised scores stay as they are.
    """
    decoy, regular = np.asarray(columns["is_decoy"], bool), np.asarray(columns["regular"], bool)
    masks = TrackMasks(~decoy & regular, decoy & regular, ~decoy)
    norm, error = np.asarray(columns["score_norm"], float), np.asarray(columns["std_error_norm"], float)
    train = norm[masks.is_train]
    spread = train.std(ddof=1) if len(train) > 1 else 0.0
    if spread > LEAST_SPREAD:
        norm, error = (norm - train.mean()) / spread, error / spread
    verdicts = reach_verdicts(
        score=np.asarray(columns["score"], float)[None],
        std_error=np.asarray(columns["std_error"], float)[None],
        score_norm=norm[None],
        std_error_norm=error[None],
        masks=masks,
        strength=-np.asarray(columns["rank"])[None],
    )
    remade = {name: getattr(verdicts, name)[0] for name in REMADE}
    return {
        name: remade.get(name, np.asarray(values)) for name, values in columns.items() if name in contract()["scores"]
    }


def _add_note(con: DuckDBPyConnection, count: int) -> None:
    """The store says from now on that something was taken out."""
    tracks = f"{count} track{' was' if count == 1 else 's were'}"
    sentence = f"{tracks} taken out on {date.today():%Y-%m-%d}. {MODEL_NOTE}"
    con.execute("UPDATE store_info SET note = concat_ws(' ', note, ?)", [sentence])
