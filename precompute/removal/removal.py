"""Take tracks out of a published store: `python -m precompute remove TRACK ... --store PATH`.

A new version of the store is written beside and renamed into place. It is written from nothing, row by row, so that no
byte of what was taken out lies in its free space. So is a new version of the run's index (remove_index.py). The model
is not touched: it still contains the music, and only training again without it takes it out. The store says so from
then on.

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
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from explorer.store import Store, StoreError, contract
from precompute.errors import UserError
from precompute.removal.files import manifest_without, sound_files, write_manifest
from precompute.removal.index import dropped, index_of
from precompute.removal.report import STILL, Removed, some
from precompute.significance.normalisation import LEAST_SPREAD
from precompute.significance.verdicts import TrackMasks, reach_verdicts
from precompute.store.publication import DERIVED, SCHEMA, remove_abandoned

DERIVED_TABLES = ("summaries", "window_sums")
REMADE = ("score_norm", "std_error_norm", "q_value", "above_noise", "rank", "train_rank")  # columns of `scores`


def remove(
    store: Path,
    track_ids: Iterable[int],
    audio: bool = False,
    manifest: Path | None = None,
    index: Path | None = None,
    indexed: bool = True,
) -> Removed:
    """Publish the store without these tracks; then the index; then the manifest; then delete their sound where asked.

    `index`: the folder of an index of sketches; None: that of the store's run, where there is one. Not `indexed`: leave
    it as it is. On a failure before the new version is in place nothing has changed. Raises UserError: an unknown id,
    no training track left, a store of another version or one that cannot be written, a manifest that is none, an index
    of another model.
    """
    ids = tuple(sorted(set(track_ids)))
    if not ids:
        raise UserError("remove: name at least one track")
    store = store.resolve()
    sounds, models, config_toml = _check(store, ids)
    rest = None if manifest is None else manifest_without(manifest, ids)
    files, shared = sound_files(store, sounds) if audio else ((), ())
    for path in files:
        if not os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise UserError(f"{path}: cannot be deleted, its folder cannot be written; nothing was changed")
    folder = (index or index_of(store, config_toml)) if indexed else None
    new_index = None if folder is None else dropped(folder, ids, models)
    try:
        clips, evaluations = _publish(store, ids)
        if new_index is not None:
            new_index.commit()
    finally:
        if new_index is not None:
            new_index.undo()
    if manifest is not None and rest is not None:
        write_manifest(manifest, rest[0])
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{path}: could not be deleted ({error.strerror}); the store is without it already"
            ) from error
    rows = None if new_index is None else new_index.rows
    return Removed(ids, clips, evaluations, files, shared, rest[1] if rest else 0, folder, rows)


def members(store: Path, grouping: str, name: str) -> list[int]:
    """Ids of the training tracks of a composer, collection, holder, ... Raises UserError where there is none."""
    try:
        opened = Store(store)
    except StoreError as error:
        raise UserError(str(error)) from error
    try:
        known = opened.holders.read_groupings()
        if grouping not in known:
            raise UserError(f"--by {grouping}: {store} has no such grouping; it has {', '.join(known)}")
        found = opened.holders.list_members(grouping, name)
    finally:
        opened.close()
    if not found:
        raise UserError(f"--of {name}: no training track of {store} has this {grouping}")
    return found


def _check(store: Path, ids: Sequence[int]) -> tuple[dict[int, Path], set[str], str]:
    """(paths of sound, by id of each track to be taken out that has one; weights; config of the run). UserError."""
    try:
        opened = Store(store)
    except StoreError as error:
        raise UserError(str(error)) from error
    try:
        known = opened.tracks.read_many(ids)
        unknown = [i for i in ids if i not in known]
        if unknown:
            raise UserError(f"{store}: has no track {some(unknown)}; nothing was changed")
        left = opened.tracks.count_training() - sum(not track.is_decoy for track in known.values())
        if left < 1:
            raise UserError(f"{store}: that would take out every training track; delete the store instead")
        root = (store.parent / opened.info.track_root).resolve()
        sounds = {i: root / path for i in ids if (path := opened.tracks.read_sound(i).audio_path)}
        run = opened.runs.read_latest()
        return sounds, {run.model_sha256}, run.config_toml
    finally:
        opened.close()


def _publish(store: Path, ids: Sequence[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Write the new version and rename it into place; (clips, evaluations) that went. Raises UserError."""
    import duckdb

    beside = store.with_name(f".{store.name}.{os.getpid()}.part")
    remove_abandoned(store)
    try:
        con = duckdb.connect(str(beside), config={"threads": 2, "default_block_size": block_size(store)})
        try:
            con.execute(SCHEMA.read_text(encoding="utf-8"))
            con.execute(f"ATTACH '{_quoted(store)}' AS old (READ_ONLY)")
            con.execute("CREATE TEMP TABLE gone AS SELECT unnest(?::INTEGER[]) AS track_id", [list(ids)])
            con.execute(
                "CREATE TEMP TABLE gone_clips AS SELECT clip_id FROM old.clips"
                " WHERE target_track_id IN (SELECT track_id FROM gone)"
            )
            evaluations = _naming(con, ids)
            con.execute("CREATE TEMP TABLE gone_names AS SELECT unnest(?::VARCHAR[]) AS name", [evaluations])
            for table in _tables(con):
                con.execute(_copy(table))
            _score(con)
            _note(con, len(ids))
            con.execute(DERIVED.read_text(encoding="utf-8"))
            clips = tuple(row[0] for row in con.execute("FROM gone_clips ORDER BY clip_id").fetchall())
            con.execute("DETACH old")
            con.execute("CHECKPOINT")
        finally:
            con.close()
        os.replace(beside, store)
    except (duckdb.IOException, duckdb.FatalException, OSError) as error:
        raise UserError(
            f"{store}: the new version could not be written, the old one is as it was ({str(error).splitlines()[0]})"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
        beside.with_name(beside.name + ".wal").unlink(missing_ok=True)
    return clips, tuple(evaluations)


def block_size(store: Path) -> int:
    """As `publish` has it: small blocks for a small store."""
    return 16_384 if store.stat().st_size < 60_000_000 else 262_144


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _tables(con: Any) -> list[str]:
    """Every table that is copied, in the order of schema.sql, which satisfies the foreign keys; scores come apart."""
    rows = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE NOT temporary AND database_name <> 'old'"
    ).fetchall()
    made = {row[0] for row in rows}
    text = SCHEMA.read_text(encoding="utf-8")
    order = sorted(made, key=lambda name: text.index(f"CREATE TABLE {name} ("))
    return [name for name in order if name not in (*DERIVED_TABLES, "scores")]


def _copy(table: str) -> str:
    """SQL that copies what stays of a table. What goes is never written: a deleted row would stay in the file."""
    columns = contract()[table]
    keys = (
        ("track_id", "gone", "track_id"),
        ("clip_id", "gone_clips", "clip_id"),
        ("target_track_id", "gone", "track_id"),
    )
    if table == "evaluations":
        keys = (("name", "gone_names", "name"),)
    where = [f"({c} IS NULL OR {c} NOT IN (SELECT {k} FROM {t}))" for c, t, k in keys if c in columns]
    return f"INSERT INTO {table} BY NAME SELECT * FROM old.{table} WHERE {' AND '.join(where) or 'true'}"


def _naming(con: Any, ids: Sequence[int]) -> list[str]:
    """Evaluations in which one of these tracks is named, by its title or as a track's id."""
    titles = [row[0] for row in con.execute("SELECT title FROM old.tracks JOIN gone USING (track_id)").fetchall()]
    found = []
    for name, text in con.execute("SELECT name, result_json FROM old.evaluations ORDER BY name").fetchall():
        if any(_names(parsed, set(ids), titles) for parsed in _parsed(text)):
            found.append(name)
    return found


def _parsed(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)
    except ValueError:
        yield text


def _names(value: Any, ids: set[int], titles: Sequence[str], key: str = "") -> bool:
    if isinstance(value, dict):
        numbered = any(name.isdecimal() and int(name) in ids for name in value) and "track" in key
        return numbered or any(_names(inner, ids, titles, name) for name, inner in value.items())
    if isinstance(value, list):
        return any(_names(inner, ids, titles, key) for inner in value)
    if isinstance(value, str):
        return any(title and title in value for title in titles)
    return (
        isinstance(value, int) and not isinstance(value, bool) and value in ids and ("track" in key or "target" in key)
    )


def _score(con: Any) -> None:
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
        again = rescored(columns)
        table = pyarrow.table({name: pyarrow.array(values) for name, values in again.items()})
        con.register("again", table)
        con.execute("INSERT INTO scores BY NAME SELECT * REPLACE (nullif(train_rank, 0) AS train_rank) FROM again")
        con.unregister("again")


def rescored(columns: dict[str, Any]) -> dict[str, np.ndarray]:
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
    made = {name: getattr(verdicts, name)[0] for name in REMADE}
    return {
        name: made.get(name, np.asarray(values)) for name, values in columns.items() if name in contract()["scores"]
    }


def _note(con: Any, count: int) -> None:
    """The store says from now on that something was taken out."""
    said = f"{count} track{' was' if count == 1 else 's were'} taken out on {date.today():%Y-%m-%d}. {STILL}"
    con.execute("UPDATE store_info SET note = concat_ws(' ', note, ?)", [said])
