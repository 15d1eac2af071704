"""Making an index, or bringing it up to date with the corpus: `python -m precompute index`.

A track's row is computed from that track alone, so tracks are appended and dropped without a look at the others. What
all rows share (the Fisher information, the cohort and its sketches, the width) is fixed when an index is first made.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache
from precompute.common.files import open_scratch
from precompute.common.progress import format_duration
from precompute.common.results import describe_hardware, read_commit, write_result
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents, read_shipped_latents
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.gradients.context import Queries, make_bare_context
from precompute.gradients.fisher import load_fisher
from precompute.gradients.track_pass import gather
from precompute.index import layout
from precompute.index.dtrak import DtrakRecorder, build_dtrak, sketch_cohort
from precompute.index.layout import Index, IndexCohort, IndexRows, MethodPart
from precompute.index.unlearning import UnlearningRecorder, make_recorder, measure_width
from precompute.model.diffusion import Items, Model, load_model
from precompute.pipeline import make_context

GROUP = 4096  # tracks whose latents are in memory at once
Recorders = Mapping[str, DtrakRecorder | UnlearningRecorder]  # by method
Rows = dict[str, Arrays]  # columns of rows, by method


@dataclass(frozen=True)
class BuildContext:
    """Model, tracks and settings that all rows of an index are computed with."""

    model: Model
    corpus: Corpus
    digests: list[str]  # of the corpus' tracks, in their order
    config: RunConfig
    cache: Cache
    cohort: Items  # the cohort's clips

    def gather_rows(self, recorders: Recorders, places: list[int], keep_wide: bool = False) -> Rows:
        """What the taps of all methods record of the tracks at these places, stacked, in one pass over them.

        It is cached, so that a killed command goes on.
        """
        part = replace(self.corpus, tracks=[self.corpus.tracks[row] for row in places])
        items, key = load_latents(self.model, part, self.config, self.cache)
        none = self.cohort[[]]
        queries = Queries(shown=none, targets=none, cohort=self.cohort)
        context = make_bare_context(self.model, part.tracks, items, queries, self.config, self.cache, key)
        taps = {name: recorder.make_tap(context, keep_wide) for name, recorder in recorders.items()}
        recorded = gather(self.model, items, context.bank, list(taps.values()), self.cache)
        return {name: recorded[tap.stage, tap.key] for name, tap in taps.items()}


def build_index(config: RunConfig, curve: Path | None = None) -> Path:
    """Make the index or bring it up to date; its folder. `curve`: a JSON file for the measured recall.

    Raises UserError where the index in the folder was made with other settings or another model, or is damaged.
    """
    began, folder = time.monotonic(), layout.get_index_folder(config)
    replaced = layout.read_manifest(folder) if (folder / layout.MANIFEST).is_file() else None
    if replaced is not None:
        layout.check_settings(replaced, config, folder)
    layout.list_served(config)
    corpus = load_corpus(config)
    model = load_model(config)
    cache = Cache(Path(config.output.work) / "cache")
    if replaced is not None:
        old = layout.load_index(folder, check_sketches=True)
        layout.check_model(old.manifest, model.inputs_sha256, folder)
    else:
        old = _start_index(model, corpus, config, cache)
    manifest, shipped = old.manifest, read_shipped_latents(config)
    digests = [hash_track(track, shipped) for track in corpus.tracks]
    clips = model.items(old.cohort.prompts, old.cohort.seconds, torch.from_numpy(old.cohort.latents))
    build = BuildContext(model, corpus, digests, config, cache, clips)
    recorders = _make_recorders(build, old)
    sampled: dict[str, Rows] = {}
    if not manifest["width"] and "unlearning" in recorders:
        manifest, recorders, sampled = _choose_width(build, recorders, manifest)
    sources = RowSources(digests, old, sampled)
    with open_scratch(Path(config.output.work), "index") as scratch:
        parts = _fill_rows(build, recorders, sources, scratch)
        written = any(track.original is not None for track in corpus.tracks)
        manifest = {**manifest, "weights": model.sha256, "code": read_commit(), "written": written}
        rows = IndexRows(np.array([t.track_id for t in corpus.tracks]), np.array(digests))
        layout.save_index(Index(folder, manifest, rows, old.cohort, parts), replaced)
        size = _describe_size(parts)
        del parts
    took = format_duration(time.monotonic() - began)
    print(f"{folder}: {sources.describe()}, {size}; {took}", flush=True)
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
    old: Index  # the version before
    sampled: dict[str, Rows]  # rows by digest that measuring the recall has computed
    places: dict[str, int] = field(init=False)  # of the old rows by digest

    def __post_init__(self) -> None:
        listed = self.old.rows.digest.tolist()
        object.__setattr__(self, "places", {digest: place for place, digest in enumerate(listed)})

    @property
    def missing(self) -> list[int]:
        """Rows of tracks that are computed now."""
        present = self.places.keys() | self.sampled.keys()
        return [row for row, digest in enumerate(self.digests) if digest not in present]

    def copy_present(self, rows: Rows) -> None:
        """Write old and sampled rows into columns of the new index, [N, ...] each."""
        for row, digest in enumerate(self.digests):
            for method, columns in rows.items():
                for name, column in columns.items():
                    if digest in self.places:
                        column[row] = getattr(self.old.parts[method], name)[self.places[digest]]
                    elif digest in self.sampled:
                        column[row] = self.sampled[digest][method][name]

    def describe(self) -> str:
        """The number of rows, and how many of them were reused or dropped, in one line."""
        count = len(self.digests)
        reused = count - len(self.missing) - len(self.sampled)
        dropped = len(set(self.places) - set(self.digests))
        return f"{count} tracks and decoys ({reused} as they were, {dropped} dropped)"


def _start_index(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> Index:
    """A new index without rows: what it fixes are settings, cohort and Fisher. The width may still be open (0)."""
    context, _ = make_context(model, corpus, config, cache)  # the run's own, so that its caches are used
    clips, trained, served = context.queries.cohort, context.trained, layout.list_served(config)
    cohort = IndexCohort(list(clips.prompts), [float(s) for s in clips.seconds], clips.latents.numpy())
    none: dict[str, Any] = {"numbers": np.zeros((0, 1, 0), np.int8), "scale": np.zeros((0, 1), np.float32)}
    parts: dict[str, MethodPart] = {}
    for name in served:
        if name == "dtrak":
            parts[name] = layout.DtrakPart(**none, clips=sketch_cohort(context))
            continue
        fisher = load_fisher(model, context.items[trained], config, cache, context.track_key).numpy()
        parts[name] = layout.UnlearningPart(
            **none,
            clips=np.zeros((len(clips), 0), np.float32),
            noise=np.zeros(0),
            cohort=np.zeros((0, len(clips))),
            lengths=np.zeros(0),
            fisher=fisher,
        )
    manifest = {
        "model": model.inputs_sha256,
        "settings": layout.collect_settings(config),
        "methods": served,
        "trained": len(trained),
        "width": config.index.width,
        "recall": None,
    }
    rows = IndexRows(np.zeros(0, int), np.zeros(0, "<U32"))
    return Index(layout.get_index_folder(config), manifest, rows, cohort, parts)


def _make_recorders(build: BuildContext, index: Index) -> Recorders:
    """What makes rows of each method that the index serves."""
    recorders: dict[str, DtrakRecorder | UnlearningRecorder] = {}
    for name in index.parts:
        if name == "dtrak":
            method = build_dtrak(build.config, index.manifest["trained"])
            recorders[name] = DtrakRecorder(method, build.config, index.dtrak.clips)
            continue
        own, cohort = index.unlearning, index.cohort
        hashes = [hashlib.sha256(array.tobytes()).hexdigest() for array in (cohort.latents, own.fisher)]
        key = fingerprint("index", build.model.inputs_sha256, cohort.prompts, cohort.seconds, hashes)
        settled = {"trained": index.manifest["trained"], "width": index.manifest["width"], "key": key}
        made = make_recorder(build.model, build.config, build.cache, build.cohort, own.fisher, settled)
        recorders[name] = replace(made, clips=own.clips, lengths=own.lengths) if len(own.lengths) else made
    return recorders


def _choose_width(
    build: BuildContext, recorders: Recorders, manifest: dict[str, Any]
) -> tuple[dict[str, Any], Recorders, dict[str, Rows]]:
    """Measure recall on a sample of the corpus: manifest and recorders with the width, and the sample's rows."""
    places = spread_evenly(len(build.corpus.tracks), build.config.index.sample)
    gathered, unlearning = build.gather_rows(recorders, places, keep_wide=True), recorders["unlearning"]
    assert isinstance(unlearning, UnlearningRecorder)
    tracks = [build.corpus.tracks[row] for row in places]
    width, record = measure_width(unlearning, gathered["unlearning"], tracks, build.cohort.prompts)
    recorders = {**recorders, "unlearning": replace(unlearning, width=width)}
    shrunk = {name: recorder.shrink(gathered[name]) for name, recorder in recorders.items()}
    sampled = {
        build.digests[row]: {
            method: {name: values[n] for name, values in own.items()} for method, own in shrunk.items()
        }
        for n, row in enumerate(places)
    }
    return {**manifest, "width": width, "recall": record}, recorders, sampled


def _fill_rows(build: BuildContext, recorders: Recorders, sources: RowSources, scratch: Path) -> dict[str, MethodPart]:
    """All rows in the order of the corpus: those that are there, and those computed now; sketches lie in `scratch`."""
    count, rows = len(sources.digests), Rows()
    for method, recorder in recorders.items():
        rows[method] = {
            name: np.lib.format.open_memmap(scratch / f"{method}-{name}.npy", "w+", kind, (count, *shape))
            for name, (kind, shape) in recorder.columns.items()
        }
    sources.copy_present(rows)
    missing = sources.missing
    for start in range(0, len(missing), GROUP):
        places = missing[start : start + GROUP]
        for method, recorded in build.gather_rows(recorders, places).items():
            for name, values in recorders[method].shrink(recorded).items():
                rows[method][name][places] = values
    return {method: recorder.make_part(rows[method]) for method, recorder in recorders.items()}


def _describe_size(parts: dict[str, MethodPart]) -> str:
    """'dtrak 4 x 16384 numbers a track, 58.1 MB; unlearning ...'"""
    texts = []
    for name, part in parts.items():
        _, replicates, width = part.numbers.shape
        texts.append(f"{name} {replicates} x {width} numbers a track, {part.numbers.nbytes / 1e6:.1f} MB")
    return "; ".join(texts)


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
