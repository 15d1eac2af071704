"""Adding clips to a store that is there: a new version of it, with all that the old one holds."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from precompute.common.files import open_scratch
from precompute.config.run import BankSection, FisherSection, RunConfig, UnlearningSection
from precompute.errors import UserError
from precompute.gradients.context import Context
from precompute.index.clips import ClipIdentity, NewClip, write_clip
from precompute.index.layout import Index, list_served
from precompute.index.scoring import ClipResults
from precompute.store import tables
from precompute.store.publication import Columns, extend_store, stack_tables
from precompute.store.reading import open_store
from precompute.store.tables import ResultKeys

AGAIN = "run `precompute run` and `precompute index` again with the same config"
_ADDED = re.compile(r"\s*Clips added later \(([\d, ]+)\):[^.]*\.")


@dataclass(frozen=True)
class ExtendableStore:
    """A store that clips can be added to."""

    path: Path
    model_sha256: str  # of the weights that the scores of its run refer to
    methods: list[str]  # of it that the index serves, the page's default first

    def check_model(self, sha256: str) -> None:
        """Raises UserError where the store is of other weights."""
        if sha256 != self.model_sha256:
            raise UserError(f"{self.path}: its scores are of another model ({self.model_sha256[:12]}); {AGAIN}")


@dataclass(frozen=True)
class StoreState:
    """Methods, next clip id, folder of clips and note of the store that new rows are added to."""

    methods: dict[str, tuple[int, str]]  # id and label by name
    next_clip_id: int
    clip_folder: Path
    note: str | None


def check_store(store: Path, index: Index, config: RunConfig) -> ExtendableStore:
    """The store, checked. Raises UserError where it does not hold the index's tracks, scored with its settings."""
    if not store.is_file():
        raise UserError(f"{store}: no store here; make one with `python -m precompute run`, or name one with --store")
    with open_store(store) as opened:
        ids = {row[0] for row in opened.database.fetch_rows("SELECT track_id FROM tracks")}
        methods = dict(opened.database.fetch_rows("SELECT name, settings_json FROM methods"))
        run = "SELECT model_sha256, config_toml FROM runs ORDER BY run_id LIMIT 1"
        [(model_sha256, config_toml)] = opened.database.fetch_rows(run)
    served = [name for name in list_served(config) if name in index.parts and name in methods]
    if not served:
        raise UserError(f"{store}: holds no scores by {' or '.join(index.parts)}, which is what the index serves")
    for name in served:
        _check_settings(store, name, json.loads(methods[name]), index.manifest["settings"])
    _check_unlearning_section(store, config_toml, config.text)
    strange = sorted(ids ^ set(index.rows.track_id.tolist()))
    if strange:
        raise UserError(
            f"{store}: track {strange[0]} is not in both store and index ({len(strange)} such);"
            f" start a `remove` that was stopped once more, or {AGAIN}"
        )
    return ExtendableStore(store, model_sha256, served)


def _check_settings(store: Path, method: str, settings: dict[str, Any], indexed: dict[str, Any]) -> None:
    """Raises UserError where a method's settings in the store are not those of the index.

    What a store does not name, since it was made before there was such a setting, has its default.
    """
    known = {**asdict(UnlearningSection()), **settings}
    for name, section in (("bank", BankSection()), ("fisher", FisherSection())):
        known[name] = {**asdict(section), **settings.get(name, {})}
    if method == "dtrak":
        wanted = {**indexed["methods.dtrak"], "bank": indexed["bank"]}
    else:
        wanted = {**indexed["unlearning"], "bank": indexed["bank"], "fisher": indexed["fisher"]}
    for name, value in wanted.items():
        if known.get(name) != value:
            raise UserError(f"{store}: {method} made with {name} = {known.get(name)}, the index with {value}; {AGAIN}")


def _check_unlearning_section(store: Path, config_toml: str, text: str) -> None:
    """Raises UserError where the run's section [unlearning] is another: draws and mask of every method's clips."""
    one, other = (tomllib.loads(toml).get("unlearning", {}) for toml in (config_toml, text))
    for name in sorted({*one, *other} - {"window_s"}):
        if one.get(name) != other.get(name):
            raise UserError(
                f"{store}: made with [unlearning] {name} = {one.get(name)}, the config says {other.get(name)}; {AGAIN}"
            )


def find_clips(store: Path, clips: Sequence[ClipIdentity], methods: Sequence[str]) -> dict[ClipIdentity, int]:
    """Ids of those of the clips that were added to the store before, and scored by all these methods.

    Clips of the run itself do not count: their scores were computed in another way. Raises UserError.
    """
    with open_store(store) as opened:
        added = list_added(opened.info.note)
        stored = opened.database.fetch_rows(
            "SELECT clip_id, kind, prompt, conditioning, seed, duration_s, audio_sha256 FROM clips"
            " WHERE list_contains(?::INTEGER[], clip_id) ORDER BY clip_id",
            added,
        )
        scored = opened.database.fetch_rows(
            "SELECT clip_id, list(DISTINCT name) FROM scores JOIN methods USING (method_id)"
            " WHERE list_contains(?::INTEGER[], clip_id) GROUP BY clip_id",
            added,
        )
    whole = {clip_id for clip_id, names in scored if set(methods) <= set(names)}
    return {
        clip: clip_id
        for clip_id, *columns in stored
        for clip in clips
        if clip_id in whole and clip.is_same(ClipIdentity(*columns))
    }


def add_clips(store: Path, context: Context, clips: Sequence[NewClip], results: Mapping[str, ClipResults]) -> list[int]:
    """Write audio beside the store's own and rows into a new version of it; the clips' ids.

    `results`: by method. The caller has held the store's lock since it read the store. A failure leaves the store as it
    was, and no audio. Raises UserError, OSError.
    """
    state = _read_state(store)
    ids = list(range(state.next_clip_id, state.next_clip_id + len(clips)))
    prompts = [clip.describe(clip_id) for clip, clip_id in zip(clips, ids, strict=True)]
    seconds = [prompt.seconds for prompt in prompts]
    rows = [
        _tabulate_results(own, ResultKeys(state.methods[name][0], ids, context.tracks), context)
        for name, own in results.items()
    ]
    with open_scratch(state.clip_folder, ".attribute") as beside:
        paths = [write_clip(context.model, clip, clip_id, beside) for clip, clip_id in zip(clips, ids, strict=True)]
        new_rows = {
            "clips": tables.tabulate_prompted_clips(prompts, ids, seconds, paths, beside),
            **{table: stack_tables([own[table] for own in rows]) for table in rows[0]},
        }

        def move_audio() -> None:
            for path in paths:
                os.replace(path, state.clip_folder / path.name)

        try:
            note = extend_note(state.note, ids, _describe_scores(state, results))
            extend_store(store, new_rows, note, move_audio)
        except BaseException:
            if _read_state(store).next_clip_id == state.next_clip_id:  # else Ctrl+C came just after the rename
                for path in paths:
                    (state.clip_folder / path.name).unlink(missing_ok=True)
            raise
    return ids


def _tabulate_results(results: ClipResults, keys: ResultKeys, context: Context) -> dict[str, Columns]:
    """Rows of one method. The claim *shaped the model* stays as the run made it: it rests on the run's own clips."""
    config, model = context.config, context.model
    rate = model.frame_rate
    valid = np.array([model.valid_frames(round(t.duration_s * model.sample_rate)) for t in keys.tracks])
    window_s = max(1, round(config.unlearning.window_s * rate)) / rate
    near = replace(keys, tracks=[keys.tracks[int(place)] for place in results.places])
    rank = results.verdicts.rank[:, results.places]
    windows = results.windows
    return {
        "scores": tables.tabulate_scores(results.verdicts, keys),
        "match_bins": tables.tabulate_match_bins(results.verdicts, keys),
        "score_parts": tables.tabulate_score_parts(results.cells, rank, near, config.bank.t_low),
        "moments": tables.tabulate_moments(results.rises, keys, valid, rate, config.moments.rate_hz),
        "clip_moments": {} if windows is None else tables.tabulate_clip_moments(windows, keys, window_s),
    }


def _read_state(store: Path) -> StoreState:
    with open_store(store) as opened:
        rows = opened.database.fetch_rows("SELECT name, method_id, label FROM methods ORDER BY method_id")
        last = opened.database.fetch_rows("SELECT max(clip_id) FROM clips")[0][0]
        info = opened.info
    methods = {name: (int(method_id), str(label)) for name, method_id, label in rows}
    return StoreState(methods, int(last or 0) + 1, (store.resolve().parent / info.clip_root).resolve(), info.note)


def _describe_scores(state: StoreState, results: Mapping[str, ClipResults]) -> str:
    """Which methods scored the clips, and how: clauses without a full stop."""
    clauses = []
    for name, own in results.items():
        exact, tracks, label = len(own.places), own.verdicts.score.shape[1], state.methods[name][1]
        if exact == tracks:
            clauses.append(f"{label} is exact for every track")
        else:
            clauses.append(
                f"{label} is exact for the tracks and decoys nearest to a clip (of the last, {exact} of {tracks}), all "
                "others are estimated from sketches, and their errors say so"
            )
    absent = [label for name, (_, label) in state.methods.items() if name not in results]
    if absent:
        clauses.append(f"not computed for these clips: {', '.join(absent)}")
    return "; ".join(clauses).replace(".", "")


def extend_note(note: str | None, ids: Sequence[int], scores: str) -> str:
    """The store's note with one sentence on all clips that were added; `scores`: which methods scored them, and how."""
    all_ids = ", ".join(map(str, [*list_added(note), *ids]))
    rest = _ADDED.sub("", note or "").strip()
    return f"{rest} Clips added later ({all_ids}): {scores}.".strip()


def list_added(note: str | None) -> list[int]:
    """Ids of the clips that were added to a store with this note."""
    before = _ADDED.search(note or "")
    return [int(clip_id) for clip_id in before.group(1).split(", ")] if before else []
