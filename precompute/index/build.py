"""Making an index, or bringing it up to date with the corpus: `python -m precompute index`.

A track's row is computed from that track alone, so tracks are appended and dropped without a look at the others. What
all rows share (the Fisher information, the cohort and its steps, the width) is fixed when an index is first made.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

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
from precompute.index.layout import Index, IndexCohort, IndexRows
from precompute.index.search import fold_sketches, quantise_sketches
from precompute.model.diffusion import Items, Model, NoiseBank, load_model
from precompute.significance.verdicts import mask_tracks

GROUP = 4096  # tracks whose latents are in memory at once


@dataclass(frozen=True)
class BuildContext:
    """Model, tracks, settings and directions that all rows of an index are computed with."""

    model: Model
    corpus: Corpus
    digests: list[str]  # of the corpus' tracks, in their order
    config: RunConfig
    cache: Cache
    step: UnlearningStep
    bank: NoiseBank
    inverse_fisher: torch.Tensor  # [P]
    sketch: Sketch  # P -> the widest
    width: int  # k; the widest while recall is measured
    directions: Directions  # of the cohort's clips

    @property
    def weight(self) -> torch.Tensor:
        """[P]: what turns a track's gradient into a."""
        return self.inverse_fisher.sqrt()


class RowTap(Tap):
    """A track's sketch, its exact scores for the cohort, and how much its draws make them vary."""

    def __init__(self, context: BuildContext, keep_wide: bool, key: str) -> None:
        """`keep_wide`: the widest sketch as it is; else folded to the width of the index and turned to int8."""
        stage = "index-wide" if keep_wide else "index"
        super().__init__(stage, key, context.step.kind, context.directions.parameters)
        self.context, self.keep_wide = context, keep_wide
        self.weight: torch.Tensor | None = None
        self.lengths: np.ndarray | None = None

    def prepare(self) -> None:
        """Load what all tracks share."""
        self.weight = self.context.weight
        self.lengths = measure_lengths(self.context)

    def record(self, track: CellGradients) -> Arrays:
        """One track's row."""
        mean, steps = track.rows.mean(0, keepdim=True), self.context.directions.load().sums
        replicates = average_strata(track.rows, self.context.bank.replicates)
        parts = multiply(replicates, steps).numpy() / self.lengths  # [R, K]
        variance = parts.var(0, ddof=1).mean() / len(parts)
        exact = {"cohort": multiply(mean, steps)[0].numpy(), "noise": np.sqrt(variance)}
        wide = self.context.sketch(mean, self.weight).numpy()
        return exact | ({"wide": wide[0]} if self.keep_wide else shrink_sketch(wide, self.context.width))

    def release(self) -> None:
        """Let go of what all tracks share."""
        self.weight = None
        self.context.directions.release()


def shrink_sketch(wide: np.ndarray, width: int) -> Arrays:
    """The widest sketch of one track [1, W] at the width and precision of the index."""
    sketches, scale = quantise_sketches(fold_sketches(wide, width))
    return {"sketches": sketches[0], "scale": scale[0]}


def measure_lengths(context: BuildContext) -> np.ndarray:
    """|b| of the cohort's clips, [K] float64."""
    weight = context.weight
    return np.array([float((step / weight).double().norm()) for step in context.directions.load().sums])


def build_index(config: RunConfig, curve: Path | None = None) -> Path:
    """Make the index or bring it up to date; its folder. `curve`: a JSON file for the measured recall.

    Raises UserError where the index in the folder was made with other settings or another model, or is damaged.
    """
    began, folder = time.monotonic(), layout.get_index_folder(config)
    exists = (folder / layout.MANIFEST).is_file()
    if exists:
        layout.check_settings(layout.read_manifest(folder), config, folder)
    corpus = load_corpus(config)
    model = load_model(config)
    cache = Cache(Path(config.output.work) / "cache")
    if exists:
        old = layout.load_index(folder, check_sketches=True)
        layout.check_model(old.manifest, model.inputs_sha256, folder)
    else:
        old = _start_index(model, corpus, config, cache)
    manifest, cohort = old.manifest, old.cohort
    context = _make_context(model, corpus, config, cache, old)
    sampled: dict[str, Arrays] = {}
    if not manifest["width"]:
        manifest, sampled = _measure_width(context, manifest)
    context = replace(context, width=manifest["width"])
    if not exists:
        sketches, lengths = _sketch_cohort(context)
        cohort = replace(cohort, sketches=sketches, lengths=lengths)
        context.directions.release()
    sources = RowSources(context.digests, old.rows, sampled)
    scratch = Path(config.output.work) / f"index-{time.time_ns()}.part"
    try:
        rows = _fill_rows(context, sources, scratch)
        manifest = {**manifest, "weights": model.sha256, "code": read_commit()}
        layout.save_index(Index(folder, manifest, rows, cohort, old.fisher))
        del rows
    finally:
        scratch.unlink(missing_ok=True)
    took = format_duration(time.monotonic() - began)
    print(f"{folder}: {sources.describe()}, {_describe_size(manifest, len(sources.digests))}; {took}", flush=True)
    if curve is not None:
        _write_curve(curve, manifest)
    return folder


def hash_track(track: Track, shipped: dict[str, np.ndarray]) -> str:
    """A name of a track by all of its content that a row depends on: caption, length, and audio or shipped latents.

    `shipped`: latents by track id. Raises UserError where there is neither audio nor latents.
    """
    digest = hashlib.sha256(f"{track.caption}|{track.duration_s}|".encode())
    if track.path is None and str(track.track_id) not in shipped:
        raise UserError(f"track {track.track_id}: no audio and no latents; see [corpus] latents")
    digest.update(track.path.read_bytes() if track.path else shipped[str(track.track_id)].tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class RowSources:
    """Where each row of a new version of the index comes from."""

    digests: list[str]  # of the corpus' tracks, in their order
    old: IndexRows  # of the version before
    sampled: dict[str, Arrays]  # rows by digest that measuring the recall has computed
    places: dict[str, int] = field(init=False)  # of the old rows by digest

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {digest: place for place, digest in enumerate(self.old.digest.tolist())})

    @property
    def missing(self) -> list[int]:
        """Rows of tracks that are computed now."""
        present = self.places.keys() | self.sampled.keys()
        return [row for row, digest in enumerate(self.digests) if digest not in present]

    def copy_present(self, columns: dict[str, np.ndarray]) -> None:
        """Write old and sampled rows into columns of the new index, [N, ...] each."""
        for row, digest in enumerate(self.digests):
            for name, column in columns.items():
                if digest in self.places:
                    column[row] = getattr(self.old, name)[self.places[digest]]
                elif digest in self.sampled:
                    column[row] = self.sampled[digest][name]

    def describe(self) -> str:
        """The number of rows, and how many of them were reused or dropped, in one line."""
        count = len(self.digests)
        reused = count - len(self.missing) - len(self.sampled)
        dropped = len(set(self.places) - set(self.digests))
        return f"{count} tracks and decoys ({reused} as they were, {dropped} dropped)"


def _start_index(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> Index:
    """A new index without rows: what it fixes are settings, cohort and Fisher. The width may still be open (0)."""
    items, key = load_latents(model, corpus, config, cache)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    fisher = load_fisher(model, items[trained], config, cache, key).numpy()
    clips = load_cohort(model, corpus, config, cache)
    cohort = IndexCohort(
        prompts=list(clips.prompts),
        seconds=[float(s) for s in clips.seconds],
        latents=clips.latents.numpy(),
        sketches=np.zeros((len(clips), 0), np.float32),
        lengths=np.ones(len(clips)),
    )
    manifest = {
        "model": model.inputs_sha256,
        "settings": layout.collect_settings(config),
        "trained": len(trained),
        "width": config.index.width,
        "recall": None,
    }
    return Index(layout.get_index_folder(config), manifest, IndexRows.make_empty(len(clips)), cohort, fisher)


def _make_context(model: Model, corpus: Corpus, config: RunConfig, cache: Cache, index: Index) -> BuildContext:
    cohort, fisher = index.cohort, index.fisher
    step = UnlearningStep(config.unlearning, index.manifest["trained"])
    damped = invert_fisher(torch.from_numpy(fisher), config.fisher.damping)
    clips = model.items(cohort.prompts, cohort.seconds, torch.from_numpy(cohort.latents))
    hashes = [hashlib.sha256(array.tobytes()).hexdigest() for array in (cohort.latents, fisher)]
    key = fingerprint("index", model.inputs_sha256, cohort.prompts, cohort.seconds, hashes)
    queries = Queries(shown=clips[[]], targets=clips[[]], cohort=clips)
    shipped = read_shipped_latents(config)
    return BuildContext(
        model=model,
        corpus=corpus,
        digests=[hash_track(track, shipped) for track in corpus.tracks],
        config=config,
        cache=cache,
        step=step,
        bank=make_noise_bank(config.bank),
        inverse_fisher=damped,
        sketch=Sketch(len(fisher), config.index.widest, config.index.seed),
        width=config.index.widest,
        directions=step.make_directions(model, queries, lambda: damped, config, cache, key),
    )


def _sketch_cohort(context: BuildContext) -> tuple[np.ndarray, np.ndarray]:
    """Sketches of b of the cohort's clips, [K, k] at the context's width, and their lengths |b| [K]."""
    steps, weight = context.directions.load().sums, 1.0 / context.weight
    sketches = [fold_sketches(context.sketch(step[None], weight).numpy(), context.width)[0] for step in steps]
    return np.stack(sketches), measure_lengths(context)


def _measure_width(context: BuildContext, manifest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Arrays]]:
    """Recall over widths on a sample of the corpus, the width that follows, and the sample's rows at that width."""
    settings = context.config.index
    places = spread_evenly(len(context.corpus.tracks), settings.sample)
    masks = mask_tracks([context.corpus.tracks[row] for row in places])
    gathered = _gather_rows(context, places, keep_wide=True)
    clips, lengths = _sketch_cohort(context)
    sample = recall.RecallSample(
        exact=gathered["cohort"].T,
        rows=gathered["wide"],
        clips=clips,
        lengths=lengths,
        is_train=masks.is_train,
        is_decoy=masks.is_decoy,
    )
    points = [recall.measure_recall(sample, width, settings.shortlist) for width in recall.list_widths(settings.widest)]
    width = recall.choose_width(points, settings.recall)
    print(recall.format_recall(points, width, len(places), len(clips), settings.shortlist), flush=True)
    measured = {
        "tracks": len(places),
        "clips": len(clips),
        "shortlist": settings.shortlist,
        "points": [asdict(point) for point in points],
    }
    rows = {
        context.digests[row]: {
            **shrink_sketch(gathered["wide"][[n]], width),
            "cohort": gathered["cohort"][n],
            "noise": gathered["noise"][n],
        }
        for n, row in enumerate(places)
    }
    return {**manifest, "width": width, "recall": measured}, rows


def _gather_rows(context: BuildContext, places: list[int], keep_wide: bool = False) -> Arrays:
    """Arrays that `RowTap` keeps of the tracks at these places, stacked; cached, so that a killed command goes on."""
    part = replace(context.corpus, tracks=[context.corpus.tracks[row] for row in places])
    items: Items = load_latents(context.model, part, context.config, context.cache)[0]
    width = None if keep_wide else context.width
    settings = (context.sketch.width, context.config.index.seed, width, [context.digests[row] for row in places])
    tap = RowTap(context, keep_wide, fingerprint(context.directions.key, context.config.bank, settings))
    return gather(context.model, items, context.bank, [tap], context.cache)[tap.stage, tap.key]


def _fill_rows(context: BuildContext, sources: RowSources, scratch: Path) -> IndexRows:
    """All rows in the order of the corpus: those that are there, and those computed now; sketches lie in `scratch`."""
    count, clips = len(sources.digests), len(context.directions.clips)
    columns = {
        "sketches": np.lib.format.open_memmap(scratch, "w+", np.int8, (count, context.width)),
        "scale": np.empty(count, np.float32),
        "noise": np.empty(count),
        "cohort": np.empty((count, clips)),
    }
    sources.copy_present(columns)
    missing = sources.missing
    for start in range(0, len(missing), GROUP):
        places = missing[start : start + GROUP]
        for name, values in _gather_rows(context, places).items():
            columns[name][places] = values
    tracks = context.corpus.tracks
    return IndexRows(
        track_id=np.array([t.track_id for t in tracks]),
        digest=np.array(sources.digests),
        is_decoy=np.array([t.is_decoy for t in tracks]),
        planted=np.array([bool(t.planted) for t in tracks]),
        **columns,
    )


def _describe_size(manifest: dict[str, Any], tracks: int) -> str:
    width = manifest["width"]
    return f"k = {width}, {tracks * (width + 4) / 1e6:.1f} MB of sketches"


def _write_curve(path: Path, manifest: dict[str, Any]) -> None:
    """Write the measured recall as the benchmarks write their results."""

    measured = manifest["recall"] or {"points": []}
    write_result(
        path,
        what="recall of the ten strongest training tracks by sketches and a shortlist, over widths",
        command=f"python -m precompute index --config CONFIG --curve {path}",
        hardware=describe_hardware(),
        rows=[{**point, **{k: v for k, v in measured.items() if k != "points"}} for point in measured["points"]],
        repeats=measured.get("clips", 0),
    )
