"""A new version of a published store without some tracks.

It is written from nothing, row by row, so that no byte of what was taken out lies in its free space.

What goes: every row that names such a track, in every table; a control clip that *is* such a track, with all its rows.
What is made again, from what is left: rank and train_rank (1 ... n without a gap); q_value and above_noise of both
claims, whose families of candidates are smaller now; match_bins, whose candidates and decoys are counted again; for how
many clips a track is above noise (those added later among them), and hubs; summaries and window_sums (derived.sql).
What stays as it was: raw and normalised scores and their errors (by unlearning each rests on its own track, the clip
and the model alone; by D-TRAK the track was still among the rows of its ridge regression); p_value and the counts of
nulls beside it, which rest on the scores of decoys for the clips of the cohort, and these are not in the store; a
track's mean over all clips; the percentiles of aspects and the p-values of passages; agreement, diagnostics and
evaluations, which tell of the run as it was. An evaluation that names such a track goes as a whole: its shape is its
own, and nothing is cut out of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.store import contract
from explorer.store.above_noise import FALSE_RATE, TESTED_BINS, adjust_p_values, can_find_one
from precompute.removal.report import MODEL_NOTE
from precompute.significance.ranks import rank_scores
from precompute.significance.verdicts import find_hubs, rank_training_tracks
from precompute.store.publication import DERIVED_TABLES, SCHEMA, finish_store, insert_rows, write_new_version
from precompute.store.reading import open_store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Arrays = dict[str, np.ndarray]
REMADE_TABLES = ("scores", "match_bins", "track_claims")  # with columns that are made again


def write_store_without(
    store: Path, ids: Sequence[int], reference: str, before_rename: Callable[[], object]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Write the new version and rename it into place; (clips, evaluations) that are not in it. Raises UserError.

    The caller holds the store's lock. `reference`: names the command in the note; `before_rename`: see
    `write_new_version`.
    """
    with write_new_version(store, _count_scores(store), before_rename) as con:
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
        _write_track_claims(con)
        _add_note(con, len(ids), reference)
        clips = tuple(row[0] for row in con.execute("FROM gone_clips ORDER BY clip_id").fetchall())
        con.execute("DETACH old")
        finish_store(con)
    return clips, tuple(evaluations)


def _count_scores(store: Path) -> int:
    with open_store(store) as opened:
        [(count,)] = opened.database.fetch_rows("SELECT count(*) FROM scores")
    return int(count)


def _write_attach_sql(store: Path) -> str:
    quoted = str(store).replace("'", "''")
    return f"ATTACH '{quoted}' AS old (READ_ONLY)"


def _list_copied_tables(con: DuckDBPyConnection) -> list[str]:
    """Every table that is copied, in the order of schema.sql, which satisfies the foreign keys."""
    names = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE NOT temporary AND database_name <> 'old'"
    ).fetchall()
    schema = SCHEMA.read_text(encoding="utf-8")
    order = sorted((name for (name,) in names), key=lambda name: schema.index(f"CREATE TABLE {name} ("))
    return [name for name in order if name not in (*DERIVED_TABLES, *REMADE_TABLES)]


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
    """Tables `scores` and `match_bins` of what stays, with ranks, q-values and counts made again, clip by clip."""
    pairs = con.execute(
        "SELECT DISTINCT method_id, clip_id FROM old.scores WHERE clip_id NOT IN (FROM gone_clips) ORDER BY ALL"
    ).fetchall()
    for pair in pairs:
        columns = _fetch_arrays(
            con,
            "SELECT s.* EXCLUDE (train_rank), is_decoy FROM old.scores s"
            " JOIN old.tracks USING (track_id) WHERE s.method_id = ? AND s.clip_id = ?"
            " AND s.track_id NOT IN (FROM gone) ORDER BY s.track_id",
            *pair,
        )
        remade = renew_scores(columns)
        insert_rows(con, "scores", remade)
        bins = "SELECT * FROM old.match_bins WHERE method_id = ? AND clip_id = ? ORDER BY match_bin"
        insert_rows(con, "match_bins", recount_bins(_fetch_arrays(con, bins, *pair), remade, columns["is_decoy"]))


def renew_scores(columns: Arrays) -> Arrays:
    """Columns of `scores` of one method and clip over the tracks that are left, [N], with what is made again.

    Beside those of the table: is_decoy. The order of ranks stays; train_rank is NaN for decoys.
    """
    order, trained = -columns["rank"][None].astype(float), ~columns["is_decoy"]
    q_value = adjust_candidates(columns["p_value"], columns["match_bin"], trained)
    remade = {
        "q_value": q_value,
        "above_noise": is_above_noise(q_value),
        "rank": rank_scores(order)[0],
        "train_rank": np.where(trained, rank_training_tracks(order, trained)[0], np.nan),
    }
    return {name: remade[name] if name in remade else columns[name] for name in contract()["scores"]}


def adjust_candidates(p_value: np.ndarray, family: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """q-values [N] of the training tracks that have a p-value; NaN for all others. `family`: their match bins [N]."""
    q_value, candidate = np.full(len(p_value), np.nan), trained & np.isfinite(p_value)
    q_value[candidate] = adjust_p_values(p_value[candidate].astype(float), family[candidate])
    return q_value


def is_above_noise(q_value: np.ndarray) -> np.ndarray:
    """bool [N]; a q-value of exactly the limit counts, though the store rounds the p-values that it comes from."""
    return np.nan_to_num(q_value, nan=1.0) <= FALSE_RATE * (1 + np.finfo(np.float32).eps)


def recount_bins(bins: Arrays, scores: Arrays, is_decoy: np.ndarray) -> Arrays:
    """Rows of `match_bins` of one method and clip, counted again from its scores; a bin without candidates goes."""
    match_bin, tested = scores["match_bin"], np.isfinite(scores["p_value"]) & ~is_decoy
    counts = {number: int((match_bin[tested] == number).sum()) for number in TESTED_BINS}
    families = sum(count > 0 for count in counts.values())
    candidates, decoys, can_tell = [], [], []
    for number, null_rows in zip(bins["match_bin"].tolist(), bins["null_rows"].tolist(), strict=True):
        inside = match_bin == number
        candidates.append(int((inside & ~is_decoy).sum()))
        decoys.append(int((inside & is_decoy).sum()))
        can_tell.append(can_find_one(families, counts[number], null_rows))
    counted = {"candidates": np.array(candidates, int), "decoys": np.array(decoys, int), "can_tell": np.array(can_tell)}
    left = counted["candidates"] > 0
    return {name: counted.get(name, values)[left] for name, values in bins.items()}


def _write_track_claims(con: DuckDBPyConnection) -> None:
    """Table `track_claims` of what stays, method by method; `scores` is there."""
    methods = con.execute("SELECT DISTINCT method_id FROM old.track_claims ORDER BY 1").fetchall()
    shown = "clip_id IN (SELECT clip_id FROM clips WHERE kind <> 'track' AND run_id = 1)"
    for (method_id,) in methods:
        columns = _fetch_arrays(
            con,
            "SELECT c.*, is_decoy FROM old.track_claims c"
            " JOIN old.tracks USING (track_id) WHERE method_id = ? AND track_id NOT IN (FROM gone) ORDER BY track_id",
            method_id,
        )
        above = _fetch_arrays(
            con,
            "SELECT track_id, count(*) FILTER (above_noise) AS clips, count(*) AS generated FROM scores"
            f" WHERE method_id = ? AND {shown} GROUP BY track_id ORDER BY track_id",
            method_id,
        )
        counts = dict(zip(above["track_id"].tolist(), above["clips"].tolist(), strict=True))
        generated = int(above["generated"].max()) if len(above["generated"]) else 0
        clips_above = np.array([counts.get(track_id, 0) for track_id in columns["track_id"].tolist()], int)
        q_value = adjust_candidates(columns["p_value"], np.zeros(len(clips_above), int), ~columns["is_decoy"])
        remade = {
            "q_value": q_value,
            "above_noise": is_above_noise(q_value),
            "clips_above": clips_above,
            "is_hub": find_hubs(clips_above, generated),
        }
        insert_rows(
            con, "track_claims", {n: remade[n] if n in remade else columns[n] for n in contract()["track_claims"]}
        )


def _fetch_arrays(con: DuckDBPyConnection, sql: str, *values: Any) -> Arrays:
    """A query's columns as plain arrays; NaN where a number is absent."""
    columns = con.execute(sql, list(values)).fetchnumpy()
    return {
        name: np.ma.filled(column, np.nan) if np.ma.is_masked(column) else np.asarray(column)
        for name, column in columns.items()
    }


def make_reference(words: Sequence[str]) -> str:
    """Four hexadecimal digits that tell a command that is repeated by its words, and too few to guess them from."""
    return sha256("\0".join(words).encode()).hexdigest()[:4]


def is_noted(note: str | None, reference: str) -> bool:
    """True where the store says that this removal was done."""
    return f"(removal {reference})" in (note or "")


def _add_note(con: DuckDBPyConnection, count: int, reference: str) -> None:
    """The store says from now on that something was taken out."""
    tracks = f"{count} track{' was' if count == 1 else 's were'}"
    sentence = f"{tracks} taken out on {date.today():%Y-%m-%d} (removal {reference}). {MODEL_NOTE}"
    con.execute("UPDATE store_info SET note = concat_ws(' ', note, ?)", [sentence])
