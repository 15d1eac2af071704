"""`python -m precompute index`: makes the index, or brings it up to date with the corpus.

A track's row is computed from that track alone, so tracks are appended and dropped without a look at the others. What
all rows share (the Fisher information, the cohort and its steps, the width) is fixed when an index is first made.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from precompute.clips.generation import load_cohort
from precompute.common.cache import Arrays, Cache
from precompute.common.progress import format_duration
from precompute.common.results import describe_hardware, read_commit, write_result
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents, read_shipped_latents
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.gradients.context import Queries, make_noise_bank
from precompute.gradients.directions import Directions, multiply
from precompute.gradients.fisher import invert_fisher, load_fisher
from precompute.gradients.flat_vectors import average_strata
from precompute.gradients.item_gradients import CellGradients
from precompute.gradients.sketches import Sketch
from precompute.gradients.steps import UnlearningStep
from precompute.gradients.taps import Tap
from precompute.gradients.track_pass import gather
from precompute.index import layout, recall
from precompute.index.layout import Cohort, Rows
from precompute.index.search import fold, quantised
from precompute.model.diffusion import Items, Model, NoiseBank, load_model

GROUP = 4096  # tracks whose latents are in memory at once


@dataclass(frozen=True)
class Frame:
    """What all rows of an index share, ready to compute with."""

    model: Model
    step: UnlearningStep
    bank: NoiseBank
    inverse_fisher: torch.Tensor  # [P]
    sketch: Sketch  # P -> the widest
    width: int  # k; the widest while recall is measured
    cache: Cache
    directions: Directions  # of the cohort's clips

    def weight(self) -> torch.Tensor:
        """[P]: what turns a track's gradient into a."""
        return self.inverse_fisher.sqrt()


class RowTap(Tap):
    """A track's sketch, its exact scores for the cohort, and how much its draws make them vary."""

    def __init__(self, frame: Frame, whole: bool, key: str) -> None:
        """`whole`: keep the widest sketch as it is; else fold it to the frame's width and turn it to int8."""
        super().__init__("index-wide" if whole else "index", key, frame.step.kind, frame.directions.parameters)
        self.frame, self.whole = frame, whole
        self.weight: torch.Tensor | None = None
        self.lengths: np.ndarray | None = None

    def prepare(self) -> None:
        self.weight = self.frame.weight()
        self.lengths = lengths_of(self.frame)

    def record(self, track: CellGradients) -> Arrays:
        """One track's row."""
        mean, steps = track.rows.mean(0, keepdim=True), self.frame.directions.load().sums
        parts = multiply(average_strata(track.rows, self.frame.bank.replicates), steps).numpy() / self.lengths  # [R, K]
        variance = parts.var(0, ddof=1).mean() / len(parts)
        found = {"cohort": multiply(mean, steps)[0].numpy(), "noise": np.sqrt(variance)}
        wide = self.frame.sketch(mean, self.weight).numpy()
        return found | ({"wide": wide[0]} if self.whole else small(wide, self.frame.width))

    def release(self) -> None:
        self.weight = None
        self.frame.directions.release()


def small(wide: np.ndarray, width: int) -> Arrays:
    """The widest sketch of one track [1, W] as it is kept."""
    sketch, scale = quantised(fold(wide, width))
    return {"sketches": sketch[0], "scale": scale[0]}


def lengths_of(frame: Frame) -> np.ndarray:
    """|b| of the cohort's clips, [K] float64."""
    return np.array([float((step / frame.weight()).double().norm()) for step in frame.directions.load().sums])


def build(config: RunConfig, curve: Path | None = None) -> Path:
    """Make the index or bring it up to date; its folder. `curve`: a JSON file that keeps the measured recall."""
    began, folder = time.monotonic(), layout.folder_of(config)
    exists = (folder / layout.MANIFEST).is_file()
    if exists:
        layout.check_settings(layout.read_manifest(folder), config, folder)
    corpus = load_corpus(config)
    model = load_model(config)
    cache = Cache(Path(config.output.work) / "cache")
    if exists:
        index = layout.load(folder, whole=True)
        layout.check_model(index.manifest, model.inputs_sha256, folder)
        manifest, cohort, fisher, kept = index.manifest, index.cohort, index.fisher, index.rows
    else:
        manifest, cohort, fisher, kept = *_begun(model, corpus, config, cache), None
    frame = _frame(model, config, cache, manifest, cohort, fisher)
    digests = digests_of(corpus.tracks, config)
    known = {} if kept is None else {digest: place for place, digest in enumerate(kept.digest.tolist())}
    taken: dict[str, Arrays] = {}
    if not manifest["width"]:
        manifest, taken = _measured(frame, corpus, digests, config, manifest)
    frame = replace(frame, width=manifest["width"])
    if not exists:
        cohort = replace(cohort, **_clip_sketches(frame))
        frame.directions.release()
    missing = [row for row, digest in enumerate(digests) if digest not in known and digest not in taken]
    scratch = Path(config.output.work) / f"index-{time.time_ns()}.part"
    try:
        rows = _rows(frame, corpus, digests, config, (kept, known), taken, missing, scratch)
        layout.save(folder, {**manifest, "weights": model.sha256, "code": read_commit()}, rows, cohort, fisher)
        del rows
    finally:
        scratch.unlink(missing_ok=True)
    reused = len(digests) - len(missing) - len(taken)
    dropped = len(set(known) - set(digests))
    width, count = manifest["width"], len(digests)
    print(
        f"{folder}: {count} tracks and decoys ({reused} as they were, {dropped} dropped), k = {width}, "
        f"{count * (width + 4) / 1e6:.1f} MB of sketches; {format_duration(time.monotonic() - began)}",
        flush=True,
    )
    if curve is not None:
        _keep_curve(curve, manifest)
    return folder


def digests_of(tracks: list[Track], config: RunConfig) -> list[str]:
    """Names of the tracks by all of their content that a row depends on."""
    shipped = read_shipped_latents(config)
    return [digest_of(track, shipped) for track in tracks]


def digest_of(track: Track, shipped: dict[str, np.ndarray]) -> str:
    """Of one track: caption, length, and audio or shipped latents."""
    digest = hashlib.sha256(f"{track.caption}|{track.duration_s}|".encode())
    if track.path is None and str(track.track_id) not in shipped:
        raise UserError(f"track {track.track_id}: no audio and no latents; see [corpus] latents")
    digest.update(track.path.read_bytes() if track.path else shipped[str(track.track_id)].tobytes())
    return digest.hexdigest()[:32]


def _begun(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> tuple[dict, Cohort, np.ndarray]:
    """What a new index fixes: settings, cohort, Fisher. The width may still be open (0)."""
    items, key = load_latents(model, corpus, config, cache)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    fisher = load_fisher(model, items[trained], config, cache, key).numpy()
    clips = load_cohort(model, corpus, config, cache)
    nothing = np.zeros((len(clips), 0), np.float32)
    seconds = [float(s) for s in clips.seconds]
    cohort = Cohort(list(clips.prompts), seconds, clips.latents.numpy(), nothing, np.ones(len(clips)))
    manifest = {
        "model": model.inputs_sha256,
        "settings": layout.settings_of(config),
        "trained": len(trained),
        "width": config.index.width,
        "recall": None,
    }
    return manifest, cohort, fisher


def _frame(model: Model, config: RunConfig, cache: Cache, manifest: dict, cohort: Cohort, fisher: np.ndarray) -> Frame:
    step = UnlearningStep(config.unlearning, manifest["trained"])
    damped = invert_fisher(torch.from_numpy(fisher), config.fisher.damping)
    latents = torch.from_numpy(cohort.latents)
    clips = model.items(cohort.prompts, cohort.seconds, latents)
    hashes = [hashlib.sha256(array.tobytes()).hexdigest() for array in (cohort.latents, fisher)]
    key = fingerprint("index", model.inputs_sha256, cohort.prompts, cohort.seconds, hashes)
    queries = Queries(shown=clips[[]], targets=clips[[]], cohort=clips)
    directions = step.make_directions(model, queries, lambda: damped, config, cache, key)
    sketch = Sketch(len(fisher), config.index.widest, config.index.seed)
    return Frame(model, step, make_noise_bank(config.bank), damped, sketch, config.index.widest, cache, directions)


def _clip_sketches(frame: Frame) -> Arrays:
    """Of the cohort's clips: sketches of b [K, k] at the frame's width, and |b|."""
    steps, weight = frame.directions.load().sums, 1.0 / frame.weight()
    rows = [fold(frame.sketch(step[None], weight).numpy(), frame.width)[0] for step in steps]
    return {"sketches": np.stack(rows), "lengths": lengths_of(frame)}


def _measured(
    frame: Frame, corpus: Corpus, digests: list[str], config: RunConfig, manifest: dict
) -> tuple[dict, dict[str, Arrays]]:
    """Recall over widths on a sample of the corpus, the width that follows, and the sample's rows at that width."""
    sample = spread_evenly(len(corpus.tracks), config.index.sample)
    tracks = [corpus.tracks[row] for row in sample]
    found = _gathered(frame, corpus, sample, digests, config, True)
    decoy, planted = np.array([t.is_decoy for t in tracks]), np.array([bool(t.planted) for t in tracks])
    clips = _clip_sketches(frame)
    measured = recall.Measured(
        exact=found["cohort"].T,
        rows=found["wide"],
        clips=clips["sketches"],
        lengths=clips["lengths"],
        is_train=~decoy & ~planted,
        is_control=decoy & ~planted,
    )
    shortlist = config.index.shortlist
    points = recall.curve(measured, recall.widths_of(config.index.widest), shortlist)
    width = recall.chosen(points, config.index.recall)
    print(recall.told(points, width, len(sample), len(clips["lengths"]), shortlist), flush=True)
    kept = {
        "tracks": len(sample),
        "clips": len(clips["lengths"]),
        "shortlist": shortlist,
        "points": [asdict(point) for point in points],
    }
    taken = {
        digests[row]: {**small(found["wide"][[n]], width), "cohort": found["cohort"][n], "noise": found["noise"][n]}
        for n, row in enumerate(sample)
    }
    return {**manifest, "width": width, "recall": kept}, taken


def _gathered(
    frame: Frame, corpus: Corpus, places: list[int], digests: list[str], config: RunConfig, whole: bool
) -> Arrays:
    """What a `RowTap` takes of some tracks, stacked; kept in the cache, so that a killed command goes on."""
    tracks = [corpus.tracks[row] for row in places]
    items: Items = load_latents(frame.model, replace(corpus, tracks=tracks), config, frame.cache)[0]
    width = None if whole else frame.width
    settings = (frame.sketch.width, config.index.seed, width, [digests[row] for row in places])
    tap = RowTap(frame, whole, fingerprint(frame.directions.key, config.bank, settings))
    return gather(frame.model, items, frame.bank, [tap], frame.cache)[tap.stage, tap.key]


def _rows(
    frame: Frame,
    corpus: Corpus,
    digests: list[str],
    config: RunConfig,
    kept: tuple[Rows | None, dict[str, int]],
    taken: dict[str, Arrays],
    missing: list[int],
    scratch: Path,
) -> Rows:
    """All rows in the order of the corpus: those that are kept, those of the sample, and those computed now."""
    count, clips = len(digests), len(frame.directions.clips)
    sketches = np.lib.format.open_memmap(scratch, "w+", np.int8, (count, frame.width))
    scale, noise, cohort = np.empty(count, np.float32), np.empty(count), np.empty((count, clips))
    into = {"sketches": sketches, "scale": scale, "noise": noise, "cohort": cohort}
    old, known = kept
    for row, digest in enumerate(digests):
        for name, column in into.items():
            if digest in known:
                column[row] = getattr(old, name)[known[digest]]
            elif digest in taken:
                column[row] = taken[digest][name]
    for start in range(0, len(missing), GROUP):
        places = missing[start : start + GROUP]
        for name, values in _gathered(frame, corpus, places, digests, config, False).items():
            into[name][places] = values
    return Rows(
        track_id=np.array([t.track_id for t in corpus.tracks]),
        digest=np.array(digests),
        is_decoy=np.array([t.is_decoy for t in corpus.tracks]),
        planted=np.array([bool(t.planted) for t in corpus.tracks]),
        **into,
    )


def _keep_curve(path: Path, manifest: dict) -> None:
    """The measured recall, as the benchmarks keep their results."""

    kept = manifest["recall"] or {"points": []}
    write_result(
        path,
        what="recall of the ten strongest training tracks by sketches and a shortlist, over widths",
        command=f"python -m precompute index --config CONFIG --curve {path}",
        hardware=describe_hardware(),
        rows=[{**point, **{k: v for k, v in kept.items() if k != "points"}} for point in kept["points"]],
        repeats=kept.get("clips", 0),
    )
