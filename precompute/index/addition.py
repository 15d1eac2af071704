"""Adding clips to a store that is there: a new version of it, with all that the old one holds."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.index.clips import NewClip, write_clip
from precompute.index.layout import Index
from precompute.model.diffusion import Model
from precompute.significance.verdicts import Verdicts
from precompute.store import tables
from precompute.store.publication import Columns, extend_store
from precompute.store.tables import ResultKeys

METHOD = "unlearning"
AGAIN = "run `precompute run` and `precompute index` again with the same config"
_ADDED = re.compile(r"Clips added later \(([\d, ]+)\):.*$", re.DOTALL)


@dataclass(frozen=True)
class AddedResults:
    """Results that are to be added, of Q clips and N tracks."""

    tracks: Sequence[Track]  # [N]
    verdicts: Verdicts
    places: np.ndarray  # [n]: tracks with exact scores
    cells: np.ndarray  # [Q, n, R, S, H]: their partial scores
    windows: np.ndarray  # [Q, N, W]
    rises: dict[tuple[int, int], np.ndarray]  # moments by (clip row, track row)


@dataclass(frozen=True)
class ExtendableStore:
    """A store that clips can be added to."""

    path: Path
    models: set[str]  # hashes of the weights that its scores refer to

    def check_model(self, sha256: str) -> None:
        """Raises UserError where the store is of other weights."""
        if self.models != {sha256}:
            raise UserError(f"{self.path}: its scores are of another model ({', '.join(self.models)[:12]}); {AGAIN}")


@dataclass(frozen=True)
class StoreState:
    """Method, next clip id, folder of clips and note of the store that new rows are added to."""

    method_id: int
    next_clip_id: int
    clip_folder: Path
    note: str | None


def check_store(store: Path, index: Index) -> ExtendableStore:
    """The store, checked. Raises UserError where it does not hold the index's tracks, scored with its settings."""
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
    settings, indexed = json.loads(methods[METHOD]), index.manifest["settings"]
    for name, value in {**indexed["unlearning"], "bank": indexed["bank"], "fisher": indexed["fisher"]}.items():
        if settings.get(name) != value:
            raise UserError(f"{store}: made with {name} = {settings.get(name)}, the index with {value}; {AGAIN}")
    strange = sorted(ids ^ set(index.rows.track_id.tolist()))
    if strange:
        raise UserError(f"{store}: track {strange[0]} is not in both store and index ({len(strange)} such); {AGAIN}")
    return ExtendableStore(store, models)


def add_clips(
    store: Path, config: RunConfig, model: Model, clips: Sequence[NewClip], results: AddedResults
) -> list[int]:
    """Write audio beside the store's own and rows into a new version of it; the clips' ids.

    Ids are given out while no other process adds to a store of this folder. A failure leaves the store as it was, and
    no audio. Raises UserError, OSError.
    """
    paths: list[Path] = []
    with _lock_folder(store.parent):
        state = _read_state(store)
        ids = list(range(state.next_clip_id, state.next_clip_id + len(clips)))
        try:
            for clip, clip_id in zip(clips, ids, strict=True):
                paths.append(write_clip(model, clip, clip_id, state.clip_folder))
            prompts = [clip.describe(clip_id) for clip, clip_id in zip(clips, ids, strict=True)]
            seconds = [prompt.seconds for prompt in prompts]
            new_rows = {
                "clips": tables.tabulate_prompted_clips(prompts, ids, seconds, paths, state.clip_folder),
                **_tabulate_results(results, ResultKeys(state.method_id, ids, results.tracks), config, model),
            }
            extend_store(store, new_rows, extend_note(state.note, ids, len(results.places), len(results.tracks)))
        except BaseException:
            for path in paths:
                path.unlink(missing_ok=True)
            raise
    return ids


def _tabulate_results(results: AddedResults, keys: ResultKeys, config: RunConfig, model: Model) -> dict[str, Columns]:
    rate = model.frame_rate
    valid = np.array([model.valid_frames(round(t.duration_s * model.sample_rate)) for t in keys.tracks])
    window_s = max(1, round(config.unlearning.window_s * rate)) / rate
    near = replace(keys, tracks=[keys.tracks[int(place)] for place in results.places])
    rank = results.verdicts.rank[:, results.places]
    return {
        "scores": tables.tabulate_scores(results.verdicts, keys),
        "score_parts": tables.tabulate_score_parts(results.cells, rank, near, config.bank.t_low),
        "moments": tables.tabulate_moments(results.rises, keys, valid, rate, config.moments.rate_hz),
        "clip_moments": tables.tabulate_clip_moments(results.windows, keys, window_s),
    }


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Wait until no other process adds to a store of this folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read_state(store: Path) -> StoreState:
    import duckdb

    with duckdb.connect(str(store), read_only=True) as connection:
        method = connection.execute("SELECT method_id FROM methods WHERE name = ?", [METHOD]).fetchall()[0][0]
        last = connection.execute("SELECT max(clip_id) FROM clips").fetchall()[0][0]
        root, note = connection.execute("SELECT clip_root, note FROM store_info").fetchall()[0]
    return StoreState(int(method), int(last or 0) + 1, (store.parent / str(root)).resolve(), note)


def extend_note(note: str | None, ids: Sequence[int], exact: int, tracks: int) -> str:
    """The store's note with one sentence on all clips that were added.

    `exact` of `tracks` tracks and decoys have exact scores for the clips `ids`.
    """
    before = _ADDED.search(note or "")
    all_ids = [*(before.group(1).split(", ") if before else []), *map(str, ids)]
    head = (note or "")[: before.start()].strip() if before else (note or "").strip()
    sentence = (
        f"Clips added later ({', '.join(all_ids)}): for each, the tracks and decoys nearest to it (of the last, "
        f"{exact} of {tracks}) have exact scores; all others are estimated from sketches, and their errors say so."
    )
    return f"{head} {sentence}".strip()
