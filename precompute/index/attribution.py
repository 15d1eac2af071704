"""Attributing new clips by the index, into a new version of the store: `python -m precompute attribute`.

Exact: scores and moments of the shortlist (`exact.py`). Estimated: all others, from sketches (`search.py`). Tracks and
decoys are shortlisted by one rule, so that q-values keep their meaning.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Cache
from precompute.common.progress import format_duration
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.audio import read_audio
from precompute.corpus.latents import read_shipped_latents
from precompute.corpus.tracks import Track, read_folder, read_manifest
from precompute.errors import UserError
from precompute.gradients.context import Queries, make_noise_bank
from precompute.gradients.directions import HALVES, Directions
from precompute.gradients.fisher import invert_fisher
from precompute.gradients.sketches import Sketch
from precompute.gradients.steps import UnlearningStep
from precompute.index import layout
from precompute.index.addition import AddedResults, add_clips, check_store
from precompute.index.build import hash_track
from precompute.index.calibration import IndexCalibration
from precompute.index.clips import ClipRequest, NewClip, make_clip
from precompute.index.exact import Shortlist
from precompute.index.layout import Index
from precompute.index.search import fold_sketches, multiply_sketches
from precompute.model.diffusion import Items, Model, load_model


class Stopwatch:
    """Seconds that the stages of a command take."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.spent: dict[str, float] = {}

    def end_stage(self, stage: str) -> None:
        """Note what the stage took that ends now."""
        now = time.monotonic()
        self.spent[stage], self.last = now - self.last, now

    @property
    def total_s(self) -> float:
        """All stages together."""
        return self.last - self.began

    def __str__(self) -> str:
        return ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self.spent.items())


@dataclass(frozen=True)
class SketchedScores:
    """Scores of Q new clips from sketches, corrected by what these are known to miss."""

    halves: np.ndarray  # [Q, H, N]
    windows: list[np.ndarray]  # Q of [W, N]: parts by window of the clip
    lengths: np.ndarray  # [Q]: |b|


def attribute_clips(config: RunConfig, requests: Sequence[ClipRequest], store: Path | None = None) -> list[int]:
    """Publish a new version of the store with these clips; their ids. Raises UserError; the store is then as it was."""
    watch, folder = Stopwatch(), layout.get_index_folder(config)
    store = store or Path(config.output.store)
    layout.check_settings(layout.read_manifest(folder), config, folder)
    index = layout.load_index(folder)
    tracks = _list_tracks(config, index)
    extendable = check_store(store, index)
    watch.end_stage("index")
    model = load_model(config)
    layout.check_model(index.manifest, model.inputs_sha256, folder)
    extendable.check_model(model.sha256)
    watch.end_stage("model")
    clips = [make_clip(model, request, config) for request in requests]
    watch.end_stage("clip")
    results = _score_clips(config, index, model, tracks, clips, watch)
    ids = add_clips(store, config, model, clips, results)
    watch.end_stage("store")
    clip_ids, took = ", ".join(map(str, ids)), format_duration(watch.total_s)
    # explorer/web/jobs.py parses this line, and shows those that begin with two blanks or "search": change both alike
    print(f"published {store} with clip {clip_ids} in {took}: {watch}", flush=True)
    return ids


def _score_clips(
    config: RunConfig,
    index: Index,
    model: Model,
    tracks: Sequence[Track],
    clips: Sequence[NewClip],
    watch: Stopwatch,
) -> AddedResults:
    """Search the index for Q clips, and score a shortlist of tracks and decoys exactly."""
    items = _join_items([clip.items for clip in clips])
    queries = Queries(shown=items, targets=items[[]], cohort=items[[]])
    damped = invert_fisher(torch.from_numpy(index.fisher), config.fisher.damping)
    step = UnlearningStep(config.unlearning, index.manifest["trained"])
    with _open_scratch(Path(config.output.work)) as cache:
        key = fingerprint("attribute", hashlib.sha256(items.latents.numpy().tobytes()).hexdigest())
        directions = step.make_directions(model, queries, lambda: damped, config, cache, key)
        directions.ensure()
        watch.end_stage("direction")
        print("search", flush=True)
        calibration = IndexCalibration.fit(index)
        estimator = calibration.estimator
        sketched = _search_index(directions, index, calibration, damped, config)
        estimates = estimator.estimate(sketched.halves.mean(1), sketched.lengths)
        places = calibration.choose_shortlist(estimates, config.index.shortlist)
        watch.end_stage("search")
        print(f"  {len(places)} of {len(index.rows)} tracks and decoys get exact scores", flush=True)
        near = [tracks[int(place)] for place in places]
        near_items = _load_items(model, near, index.rows.digest[places], config)
        halves = estimator.slope * sketched.halves
        apart = (halves - halves.mean(1, keepdims=True))[:, :, places].transpose(0, 2, 1)
        bank = make_noise_bank(config.bank)
        shortlist = Shortlist(model, step, directions, queries, near_items, apart, bank, cache)
        cells, exact_windows = shortlist.compute_scores()
        verdicts = calibration.judge_clips(sketched.halves, sketched.lengths, places, cells)
        windows = _estimate_windows(calibration, sketched, places, cells)
        if exact_windows is not None:
            windows[:, places] = exact_windows
        best = (verdicts.train_rank[:, places] > 0) & (verdicts.train_rank[:, places] <= config.moments.tracks)
        rises = shortlist.compute_moments([(int(q), int(n)) for q, n in zip(*np.nonzero(best), strict=True)])
        rises = {(q, int(places[n])): rise for (q, n), rise in rises.items()}
        watch.end_stage("exact scores")
    return AddedResults(tracks, verdicts, places, cells, windows, rises)


def _list_tracks(config: RunConfig, index: Index) -> list[Track]:
    """The corpus' entries in the order of the index; no audio is read. Raises UserError."""
    section = config.corpus
    listed = read_manifest(Path(section.manifest)) if section.manifest else read_folder(Path(section.folder))
    by_id = {track.track_id: track for track in listed}
    for track_id in index.rows.track_id.tolist():
        if track_id not in by_id:
            raise UserError(f"track {track_id} of the index is no longer in the corpus; run `precompute index` again")
    return [by_id[track_id] for track_id in index.rows.track_id.tolist()]


def _join_items(items: Sequence[Items]) -> Items:
    """Clips one below the other."""
    prompts = tuple(prompt for one in items for prompt in one.prompts)
    rest = {f.name: [getattr(one, f.name) for one in items] for f in fields(Items) if f.name != "prompts"}
    tensors: dict[str, Any] = {name: None if parts[0] is None else torch.cat(parts) for name, parts in rest.items()}
    return Items(prompts=prompts, **tensors)


@contextmanager
def _open_scratch(work: Path) -> Iterator[Cache]:
    """A cache of this process alone; what killed ones have left is removed."""
    for left in work.glob("attribute-*"):
        pid = left.name.removeprefix("attribute-")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = work / f"attribute-{os.getpid()}"
    try:
        yield Cache(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _search_index(
    directions: Directions, index: Index, calibration: IndexCalibration, damped: torch.Tensor, config: RunConfig
) -> SketchedScores:
    """Sketches of the clips' steps, and their products with all tracks in one reading of the index."""
    width = index.rows.sketches.shape[1]
    sketch = Sketch(len(index.fisher), config.index.widest, config.index.seed)
    weight, vectors, lengths, counts = 1.0 / damped.sqrt(), [], [], []
    for number in range(len(directions.clips)):
        arrays = directions.load_clip(number)
        steps = torch.cat([torch.from_numpy(arrays["halves"]), torch.from_numpy(arrays["windows"])])
        vectors.append(fold_sketches(sketch(steps, weight).numpy(), width))
        lengths.append(float((steps[:HALVES].mean(0) * weight).double().norm()))
        counts.append(len(steps))
    clips = np.concatenate(vectors)
    products = multiply_sketches(index.rows.sketches, index.rows.scale, clips)
    parts = np.split(calibration.estimator.correct(products, clips), np.cumsum(counts)[:-1])
    halves = np.stack([part[:HALVES] for part in parts])
    return SketchedScores(halves, [part[HALVES:] for part in parts], np.array(lengths))


def _load_items(model: Model, tracks: Sequence[Track], digests: np.ndarray, config: RunConfig) -> Items:
    """Latents and conditions of the shortlist, read now. Raises UserError where a track is not what was indexed."""
    shipped, latents = read_shipped_latents(config), []
    for track, digest in zip(tracks, digests.tolist(), strict=True):
        if track.path is not None and not track.path.is_file():
            raise UserError(f"track {track.track_id} ({track.path}): missing; run `precompute index` again")
        if hash_track(track, shipped) != digest:
            raise UserError(f"track {track.track_id} is not what was indexed; run `precompute index` again")
        if track.path is None:
            latents.append(torch.from_numpy(shipped[str(track.track_id)].astype(np.float32)))
        else:
            latents.append(model.encode(read_audio(track.path, model.sample_rate, model.channels)))
    return model.items([t.caption for t in tracks], [t.duration_s for t in tracks], torch.stack(latents))


def _estimate_windows(
    calibration: IndexCalibration, sketched: SketchedScores, places: np.ndarray, cells: np.ndarray
) -> np.ndarray:
    """[Q, N, W]: parts of the score by window of the clip, that sum to it; NaN past a clip's last window.

    What exact scores [Q, n, ...] and their estimated parts differ by is spread evenly over the windows.
    """
    estimator = calibration.estimator
    counts = [len(part) for part in sketched.windows]
    by_window = np.full((len(counts), len(calibration.rows), max(counts)), np.nan)
    for q, part in enumerate(sketched.windows):
        estimates = (estimator.slope * part + estimator.offset * (sketched.lengths[q] / counts[q])).T
        short = cells[q].mean((1, 2, 3)) - estimates[places].sum(1)
        estimates[places] += short[:, None] / counts[q]
        by_window[q, :, : counts[q]] = estimates
    return by_window
