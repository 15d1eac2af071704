"""Attributing new clips by the index, into a new version of the store: `python -m precompute attribute`.

A clip gets rows of every method that the index serves and the store holds: by D-TRAK, all exact (`dtrak.py`); by
unlearning, exact for a shortlist and estimated for all others (`unlearning.py`). Other methods of the store have no
rows for it: the page says that they did not score it, and the store's note does.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Cache
from precompute.common.files import open_scratch
from precompute.common.locks import lock_store
from precompute.common.progress import format_duration
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.audio import read_audio
from precompute.corpus.intake import take_in
from precompute.corpus.latents import compute_timing, read_shipped_latents
from precompute.corpus.tracks import Track, read_folder, read_manifest
from precompute.errors import UserError
from precompute.gradients.context import Queries, make_bare_context
from precompute.index import layout
from precompute.index.addition import add_clips, check_store, find_clips
from precompute.index.build import hash_track
from precompute.index.clips import ClipRequest, NewClip, make_clip
from precompute.index.dtrak import score_by_dtrak
from precompute.index.layout import Index
from precompute.index.scoring import ClipResults, ScoringJob, group_new_clips
from precompute.index.unlearning import score_by_unlearning
from precompute.model.diffusion import Items, Model, load_model
from precompute.model.hub import compute_window_s, find_config_file, read_model_config
from precompute.significance.verdicts import assign_roles


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


def attribute_clips(config: RunConfig, requests: Sequence[ClipRequest], store: Path | None = None) -> list[int]:
    """Publish a new version of the store with these clips; their ids. Raises UserError; the store is then as it was.

    The store's lock is held from the first look at store and index on. A clip that the store holds already, since a
    command was killed after it had published, is named and not added again.
    """
    store = store or Path(config.output.store)
    with lock_store(store):
        watch, folder = Stopwatch(), layout.get_index_folder(config)
        layout.check_settings(layout.read_manifest(folder), config, folder)
        index = layout.load_index(folder)
        tracks = _list_tracks(config, index)
        extendable = check_store(store, index, config)
        watch.end_stage("index")
        model = load_model(config)
        layout.check_model(index.manifest, model.inputs_sha256, folder)
        extendable.check_model(model.sha256)
        watch.end_stage("model")
        clips = {clip.identify(): clip for clip in (make_clip(model, request, config) for request in requests)}
        ids = find_clips(store, list(clips), extendable.methods)
        for clip_id in ids.values():  # explorer/web/jobs.py parses this line
            print(f"{store} holds clip {clip_id} already: the same sound, words and seed; not added again", flush=True)
        new = [clip for identity, clip in clips.items() if identity not in ids]
        watch.end_stage("clip")
        if not new:
            return list(ids.values())
        with open_scratch(Path(config.output.work), "attribute") as scratch:
            job = _make_job(config, index, model, new, Cache(scratch), tracks)
            results: dict[str, ClipResults] = {}
            for name in extendable.methods:
                if name == "dtrak":
                    results[name] = score_by_dtrak(job, index.dtrak)
                else:
                    results[name] = score_by_unlearning(job, index.unlearning, index.manifest["trained"])
                watch.end_stage(name)
        new_ids = add_clips(store, job.context, new, results)
    watch.end_stage("store")
    clip_ids, took = ", ".join(map(str, new_ids)), format_duration(watch.total_s)
    # explorer/web/jobs.py parses this line, and shows those that begin with two blanks or "search": change both alike
    print(f"published {store} with clip {clip_ids} in {took}: {watch}", flush=True)
    return [*ids.values(), *new_ids]


def _make_job(
    config: RunConfig, index: Index, model: Model, clips: Sequence[NewClip], cache: Cache, tracks: Sequence[Track]
) -> ScoringJob:
    """What the clips are scored with; audio of tracks is read when a method asks for it."""
    items = _join_items([clip.items for clip in clips])
    key = fingerprint("attribute", hashlib.sha256(items.latents.numpy().tobytes()).hexdigest())
    queries = Queries(shown=items, targets=items[[]], cohort=items[[]])
    context = make_bare_context(model, tracks, items[[]], queries, config, cache, key)

    def load(places: Sequence[int]) -> Items:
        near = [tracks[place] for place in places]
        return _load_items(model, near, index.rows.digest[list(places)], config)

    groups = group_new_clips(model, items, index.cohort, tracks)
    return ScoringJob(context, assign_roles(tracks), groups, load)


def _list_tracks(config: RunConfig, index: Index) -> list[Track]:
    """The corpus' entries in the order of the index. Raises UserError.

    Audio is read only where files were cut into windows or written anew: what they are called follows from it.
    """
    section = config.corpus
    if index.manifest["written"]:
        listed = take_in(config, compute_window_s(read_model_config(find_config_file(config.model)))).tracks
    else:
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
    timing = compute_timing(tracks)
    return model.items([t.caption for t in tracks], [t.duration_s for t in tracks], torch.stack(latents), timing=timing)
