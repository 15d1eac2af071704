"""Training of exemplars: decoys that the model is tuned on together, with one low-rank update, so that they influence
its clips.

Customised models as ground truth of attribution: Wang et al. 2023 (arXiv 2306.09345). The update is kept from before
the clips of any exemplar come nearer to it than decoys come to training tracks: it influences its clips, which are no
copies of it. Distances are 1 - cosine of CLAP audio embeddings, in [0, 2], of *decoded latents* on both sides, so that
they hold no trace of a codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt, read_run_prompts
from precompute.common import seeds
from precompute.common.cache import Cache, Entry
from precompute.common.progress import progress
from precompute.common.sequences import spread_evenly
from precompute.config.run import ClipsSection, RunConfig, fingerprint
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.exemplars.files import Exemplar, ExemplarUpdate, load_exemplars, save_exemplars
from precompute.exemplars.low_rank import LowRankUpdate, apply_update
from precompute.model.diffusion import Items, Model, load_model
from precompute.train.lora import LoraSettings, train_update

LIMIT_PERCENTILE = 5.0  # of the decoys' distances to their nearest training track
COUNT = 4  # exemplars


@dataclass(frozen=True)
class ExemplarSettings(LoraSettings):
    """Settings of the training of an update."""

    clips: int = 4  # of each exemplar, a check

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clips < 1:
            raise UserError(f"exemplars: clips = {self.clips}: must be at least 1")


def make_exemplars(
    config: RunConfig,
    path: Path,
    track_ids: Sequence[int] = (),
    settings: ExemplarSettings | None = None,
    count: int = COUNT,
) -> ExemplarUpdate:
    """Tune the run's model on decoys and write the update to `path`; returns what the file holds.

    Without `track_ids`: `count` decoys by `choose_decoys`. A file that is there already is read. Raises UserError where
    an id is no decoy of the run, the model has no CLAP, there are no decoys to set limits by, or the file that is
    there belongs to other weights or other tracks.
    """
    settings = settings or ExemplarSettings()
    corpus, model = load_corpus(config), load_model(config)
    rows = _find_rows(corpus, config, track_ids, count)
    chosen = [corpus.tracks[row].track_id for row in rows]
    if path.exists():
        made = load_exemplars(path, model)
        if made.track_ids != chosen:
            raise UserError(f"{path}: holds the exemplars {made.track_ids}, not {chosen}; delete it and make it again")
        print(f"{path}: is there, {made.steps} steps", flush=True)
        return made
    cache = Cache(Path(config.output.work) / "cache")
    items, key = load_latents(model, corpus, config, cache)
    embeddings = load_embeddings(model, items, cache, key)
    limits = compute_limits(embeddings, np.array([t.is_decoy for t in corpus.tracks]), rows)
    for track_id, limit in zip(chosen, limits, strict=True):
        print(f"exemplar {track_id}: its clips stay farther from it than {limit:.4f}", flush=True)
    made = tune_model(model, items[rows], embeddings[rows], limits, chosen, config.clips, settings)
    save_exemplars(made, path)
    print(f"{path}: {made.steps} steps, {path.stat().st_size / 1e6:.2f} MB", flush=True)
    return made


def _find_rows(corpus: Corpus, config: RunConfig, track_ids: Sequence[int], count: int) -> list[int]:
    """Rows of the decoys with these ids, or of a choice, among the corpus's tracks. Raises UserError."""
    if count < 1:
        raise UserError(f"exemplars: count = {count}: must be at least 1")
    if len(set(track_ids)) < len(track_ids):
        raise UserError("exemplars: a track stands twice")
    row_of = {t.track_id: row for row, t in enumerate(corpus.tracks) if t.is_decoy}
    shown = {prompt.text for prompt in read_run_prompts(config)}
    chosen = list(track_ids) or [t.track_id for t in choose_decoys(corpus.tracks, count, shown)]
    if not chosen:
        raise UserError("exemplars: no decoy has audio and a caption that no clip of the run has")
    for track_id in chosen:
        if track_id not in row_of:
            raise UserError(
                f"exemplars: track {track_id} is no decoy of this run, and an exemplar must not be trained on"
            )
    return [row_of[track_id] for track_id in chosen]


def choose_decoys(tracks: Sequence[Track], count: int = COUNT, shown: Sequence[str] | set[str] = ()) -> list[Track]:
    """Up to `count` decoys, spread over collections, that ship with audio, since an exemplar is to be heard.

    Captions of `shown` clips are avoided: a clip of the tuned model is to have a caption of its own.
    """
    by_collection: dict[str, list[Track]] = {}
    for track in tracks:
        if track.is_decoy and track.path is not None and not track.planted and track.caption not in shown:
            by_collection.setdefault(track.collection, []).append(track)
    groups = [group for _, group in sorted(by_collection.items())]
    groups = [groups[i] for i in spread_evenly(len(groups), count)]
    deepest = max(map(len, groups), default=0)
    in_turn = [group[depth] for depth in range(deepest) for group in groups if depth < len(group)]
    return in_turn[:count]


# -- distances ---------------------------------------------------------------------------------------------------


def embed_audio(model: Model, items: Items) -> torch.Tensor:
    """CLAP audio embeddings of decoded latents, cut to their true length: [N, E] float32. Raises UserError."""
    if model.clap is None:
        raise UserError("[model] clap: audio is compared through a CLAP; name the CLAP's folder")
    rows = []
    for row in range(len(items)):
        wave = model.decode(items.latents[row])[:, : round(float(items.seconds[row]) * model.sample_rate)].mean(0)
        if model.sample_rate != model.clap.sample_rate:
            import soxr

            wave = soxr.resample(wave, model.sample_rate, model.clap.sample_rate, quality="HQ")
        rows.append(model.clap.audio([wave]))
    return torch.cat(rows)


def load_embeddings(model: Model, items: Items, cache: Cache, key: str) -> torch.Tensor:
    """`embed_audio` of a run's items, [N, E], cached; `key` names latents and lengths by content."""

    def compute() -> dict[str, np.ndarray]:
        rows = [embed_audio(model, items[[row]]) for row in progress("CLAP embeddings", range(len(items)))]
        return {"embeddings": torch.cat(rows).numpy()}

    key = fingerprint(key, model.inputs_sha256, items.seconds.tolist())
    return torch.from_numpy(cache.get(Entry("clap-audio", key), compute)["embeddings"])


def compute_limits(embeddings: torch.Tensor, is_decoy: np.ndarray, rows: Sequence[int]) -> list[float]:
    """Least distance that clips keep from each exemplar; `rows` of the exemplars among embeddings [N, X] of length 1.

    The 5th percentile over decoys of the distance to the nearest training track; for an exemplar that a training track
    is nearer to than that, the distance of this track, since so near is no copy there. Raises UserError without decoys.
    """
    if not is_decoy.any():
        raise UserError("exemplars: no decoys, so there is no telling how near is too near; see [corpus] decoys")
    trained = embeddings[~torch.from_numpy(is_decoy)].double()
    nearest = (1 - embeddings.double() @ trained.T).min(1).values.numpy()
    usual = np.percentile(nearest[is_decoy], LIMIT_PERCENTILE)
    return [float(min(usual, nearest[row])) for row in rows]


def measure_distances(
    model: Model, items: Items, embeddings: torch.Tensor, settings: ClipsSection, clips: int
) -> list[float]:
    """Smallest distance of `clips` clips of each exemplar's caption and length, from fixed seeds, to its embedding.

    `items` [E]: the exemplars; `embeddings` [E, X]: their CLAP audio embeddings, of length 1; returns E distances.
    """
    rows = [row for row in range(len(items)) for _ in range(clips)]
    prompts = [
        Prompt(0, text, float(seconds), seeds.EXEMPLAR_CHECK + k)
        for text, seconds in zip(items.prompts, items.seconds, strict=True)
        for k in range(clips)
    ]
    made = replace(items[rows], latents=generate_latents(model, prompts, settings, "clips of the exemplars"))
    nearness = (embed_audio(model, made).double() * embeddings[rows].double()).sum(1)
    return [float(value) for value in 1 - nearness.reshape(len(items), clips).max(1).values]


# -- the training ------------------------------------------------------------------------------------------------------


def tune_model(
    model: Model,
    items: Items,
    embeddings: torch.Tensor,
    limits: Sequence[float],
    track_ids: Sequence[int],
    clips: ClipsSection,
    settings: ExemplarSettings,
) -> ExemplarUpdate:
    """Train one update on exemplars [E] up to the last check before clips of any cross its limit, or to the last step.

    At least the update of the first check is kept: without training there would be no exemplars. Where an exemplar's
    clips were nearer than its limit by then, its `crossed_at` says so. One that is nearer than that before any
    training stops nothing. `clips`: how the run generates.
    """
    first = measure_distances(model, items, embeddings, clips, settings.clips)
    distances = [[(0, value)] for value in first]
    crossed_at: list[int | None] = [0 if value < limit else None for value, limit in zip(first, limits, strict=True)]
    for track_id, crossed in zip(track_ids, crossed_at, strict=True):
        if crossed == 0:
            print(f"  {track_id}: clips of the untuned model are nearer than its limit already", flush=True)
    best: tuple[int, LowRankUpdate] | None = None
    for step, update in train_update(model, items, settings):
        with apply_update(model, update):
            measured = measure_distances(model, items, embeddings, clips, settings.clips)
        for row, value in enumerate(measured):
            distances[row].append((step, value))
            if crossed_at[row] is None and value < limits[row]:
                crossed_at[row] = step
        told = ", ".join(f"{track_id} {value:.4f}" for track_id, value in zip(track_ids, measured, strict=True))
        print(f"  {step} of {settings.steps} steps, distances: {told}", flush=True)
        stopped = step in crossed_at
        if best is None or not stopped:
            best = step, update
        if stopped:
            break
    if best is None:
        raise ValueError("a training of no steps gives no update")  # LoraSettings has at least one
    steps, update = best
    exemplars = tuple(
        Exemplar(
            track_id=track_id,
            caption=items.prompts[row],
            seconds=float(items.seconds[row]),
            limit=limits[row],
            distances=tuple(distances[row]),
            crossed_at=crossed_at[row],
        )
        for row, track_id in enumerate(track_ids)
    )
    return ExemplarUpdate(update, exemplars, steps, model.sha256)
