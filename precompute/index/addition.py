"""New clips into a store that is there: a new version of it, with all that the old one holds."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from precompute.config.run import RunConfig
from precompute.corpus.audio import analyse
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.index.clips import NewClip, write
from precompute.index.layout import Index
from precompute.model.diffusion import Model
from precompute.significance.verdicts import Verdicts
from precompute.store import tables as columns
from precompute.store.publication import Columns, extend_store, make_relative_path, stack_tables
from precompute.store.tables import ResultKeys

METHOD = "unlearning"
AGAIN = "run `precompute run` and `precompute index` again with the same config"
_ADDED = re.compile(r"Clips added later \(([\d, ]+)\):.*$", re.DOTALL)


@dataclass(frozen=True)
class Results:
    """What is to be added, of Q clips and N tracks."""

    tracks: Sequence[Track]  # [N]
    scores: Verdicts
    places: np.ndarray  # [n]: tracks with exact scores
    cells: np.ndarray  # [Q, n, R, S, H]: their partial scores
    windows: np.ndarray  # [Q, N, W]
    rises: dict[tuple[int, int], np.ndarray]  # moments by (clip row, track row)


@dataclass(frozen=True)
class Standing:
    """A store that clips can be added to."""

    path: Path
    models: set[str]  # hashes of the weights that its scores refer to

    def check_model(self, sha256: str) -> None:
        """Raises UserError where the store is of other weights."""
        if self.models != {sha256}:
            raise UserError(f"{self.path}: its scores are of another model ({', '.join(self.models)[:12]}); {AGAIN}")


def check(store: Path, index: Index) -> Standing:
    """Raises UserError where the store does not hold the index's tracks, scored by unlearning with its settings."""
    import duckdb

    from explorer.store import SCHEMA_VERSION

    if not store.is_file():
        raise UserError(f"{store}: no store here; make one with `python -m precompute run`, or name one with --store")
    try:
        with duckdb.connect(str(store), read_only=True) as connection:
            version = connection.execute("SELECT version FROM store_info").fetchall()
            if version != [(SCHEMA_VERSION,)]:
                raise UserError(
                    f"{store}: has another format than {SCHEMA_VERSION}; publish it again with this release"
                )
            ids = {row[0] for row in connection.execute("SELECT track_id FROM tracks").fetchall()}
            methods = dict(connection.execute("SELECT name, settings_json FROM methods").fetchall())
            models = {row[0] for row in connection.execute("SELECT model_sha256 FROM runs").fetchall()}
    except duckdb.Error as error:
        raise UserError(f"{store}: is not a store ({str(error).splitlines()[0]})") from error
    if METHOD not in methods:
        raise UserError(f"{store}: holds no scores by {METHOD}, which is what the index estimates")
    settings, wanted = json.loads(methods[METHOD]), index.manifest["settings"]
    flat = {**wanted["unlearning"], "bank": wanted["bank"], "fisher": wanted["fisher"]}
    for name, value in flat.items():
        if settings.get(name) != value:
            raise UserError(f"{store}: made with {name} = {settings.get(name)}, the index with {value}; {AGAIN}")
    strange = sorted(ids ^ set(index.rows.track_id.tolist()))
    if strange:
        raise UserError(f"{store}: track {strange[0]} is not in both store and index ({len(strange)} such); {AGAIN}")
    return Standing(store, models)


def publish(store: Path, config: RunConfig, model: Model, clips: Sequence[NewClip], results: Results) -> list[int]:
    """Audio beside the store's own, rows into a new version of it; ids are given out while nobody else does."""
    found, places, tracks, written = results.scores, results.places, results.tracks, []
    with _alone(store.parent):
        method_id, first, root, note = _now(store)
        ids = list(range(first, first + len(clips)))
        folder = (store.parent / root).resolve()
        try:
            for clip, clip_id in zip(clips, ids, strict=True):
                written.append(write(model, clip, clip_id, folder))
            keys = ResultKeys(method_id, ids, tracks)
            close = [tracks[int(place)] for place in places]
            rate = model.frame_rate
            valid = np.array([model.valid_frames(round(t.duration_s * model.sample_rate)) for t in tracks])
            window_s = max(1, round(config.unlearning.window_s * rate)) / rate
            least = config.moments.rate_hz
            tables = {
                "clips": _clip_columns(clips, ids, written, folder),
                "scores": columns.tabulate_scores(found, keys),
                "score_parts": columns.tabulate_score_parts(
                    results.cells, found.rank[:, places], ResultKeys(method_id, ids, close), config.bank.t_low
                ),
                "moments": columns.tabulate_moments(results.rises, keys, valid, rate, least),
                "clip_moments": columns.tabulate_clip_moments(results.windows, keys, window_s),
            }
            extend_store(store, tables, _noted(note, ids, len(places), len(tracks)))
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
    return ids


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process adds to a store of this folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _now(store: Path) -> tuple[int, int, str, str | None]:
    """Id of the method, the next clip id, the clips' folder and the note of the store as it is now."""
    import duckdb

    with duckdb.connect(str(store), read_only=True) as connection:
        method = connection.execute("SELECT method_id FROM methods WHERE name = ?", [METHOD]).fetchall()[0][0]
        last = connection.execute("SELECT max(clip_id) FROM clips").fetchall()[0][0]
        root, note = connection.execute("SELECT clip_root, note FROM store_info").fetchall()[0]
    return int(method), int(last or 0) + 1, str(root), note


def _clip_columns(clips: Sequence[NewClip], ids: list[int], paths: list[Path], folder: Path) -> Columns:
    found: list[dict[str, Any]] = []
    for clip, clip_id, path in zip(clips, ids, paths, strict=True):
        wanted = clip.wanted
        row = {
            "clip_id": [clip_id],
            "kind": [clip.kind],
            "prompt": [wanted.prompt or None],
            "conditioning": [clip.conditioning],
            "seed": [wanted.seed if clip.wave is None else None],
            "duration_s": [float(clip.items.seconds[0])],
            "audio_path": [make_relative_path(path, folder)],
            "title": [wanted.title or None],
        }
        found.append({**row, **columns.tabulate_analyses([analyse(path)])})
    return stack_tables(found)


def _noted(note: str | None, ids: Sequence[int], exact: int, tracks: int) -> str:
    """The store's note with one sentence on all clips that were added."""
    before = _ADDED.search(note or "")
    all_ids = [*(before.group(1).split(", ") if before else []), *map(str, ids)]
    head = (note or "")[: before.start()].strip() if before else (note or "").strip()
    said = (
        f"Clips added later ({', '.join(all_ids)}): for each, the tracks and decoys nearest to it (of the last, "
        f"{exact} of {tracks}) have exact scores; all others are estimated from sketches, and their errors say so."
    )
    return f"{head} {said}".strip()
