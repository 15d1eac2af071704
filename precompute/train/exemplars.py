"""Exemplars: decoys on which the transformer is fine-tuned with low-rank updates, so that they influence its clips.

Customised models as ground truth of attribution: Wang et al. 2023 (arXiv 2306.09345). An exemplar is kept from before
its clips come nearer to it than decoys come to training tracks: it influences its clips, which are no copies of it.
Distances are 1 - cosine of CLAP audio embeddings, in [0, 2], of *decoded latents* on both sides, so that they hold no
trace of a codec.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt
from precompute.common import seeds
from precompute.common.cache import Cache, Entry
from precompute.common.files import write_atomically
from precompute.common.progress import progress
from precompute.common.sequences import spread_evenly
from precompute.config.run import ClipsSection, RunConfig, fingerprint
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.model.diffusion import Items, Model, load_model
from precompute.train.lora import LoraSettings, LowRankUpdate, apply_update, train_update

LIMIT_PERCENTILE = 5.0  # of the decoys' distances to their nearest training track
COUNT = 4  # exemplars


@dataclass(frozen=True)
class ExemplarSettings(LoraSettings):
    """Settings of the training of one exemplar."""

    clips: int = 4  # a check

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clips < 1:
            raise UserError(f"exemplars: clips = {self.clips}: must be at least 1")


@dataclass(frozen=True)
class Exemplar:
    """A low-rank update that was trained on one decoy, and the record of its training."""

    update: LowRankUpdate
    track_id: int
    caption: str
    seconds: float
    steps: int  # of the update that is kept
    distances: tuple[tuple[int, float], ...]  # (step, smallest distance of a clip to the exemplar); step 0 = theta_0
    limit: float  # the decoys' 5th percentile
    crossed_at: int | None  # first step whose clips are nearer than the limit; None = never, 0 = before any training
    base_sha256: str  # of the checkpoint that the update belongs to


def make_exemplars(
    config: RunConfig,
    folder: Path,
    track_ids: Sequence[int] = (),
    settings: ExemplarSettings | None = None,
    count: int = COUNT,
) -> list[Path]:
    """Write folder/exemplar-NNNN.safetensors for each decoy that has none yet; returns the files' paths.

    Without `track_ids`: `count` decoys by `choose_decoys`. Raises UserError where an id is no decoy of the run, the
    model has no CLAP, there are no decoys to set the limit by, or a file in the folder belongs to other weights.
    """
    settings = settings or ExemplarSettings()
    if count < 1:
        raise UserError(f"exemplars: count = {count}: must be at least 1")
    corpus, model = load_corpus(config), load_model(config)
    cache = Cache(Path(config.output.work) / "cache")
    row_of = {t.track_id: row for row, t in enumerate(corpus.tracks) if t.is_decoy}
    chosen = list(track_ids) or [t.track_id for t in choose_decoys(corpus.tracks, count)]
    for track_id in chosen:
        if track_id not in row_of:
            raise UserError(
                f"exemplars: track {track_id} is no decoy of this run, and an exemplar must not be trained on"
            )
    items, key = load_latents(model, corpus, config, cache)
    embeddings = load_embeddings(model, items, cache, key)
    is_decoy = np.array([t.is_decoy for t in corpus.tracks])
    limit = compute_nearness_limit(embeddings, is_decoy)
    print(f"exemplars: a clip's distance to its exemplar stays above {limit:.4f}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for track_id in chosen:
        path, row = folder / f"exemplar-{track_id:04d}.safetensors", row_of[track_id]
        paths.append(path)
        if path.exists():
            print(f"  {path.name}: is there, {load_exemplar(path, model).steps} steps", flush=True)
            continue
        made = fine_tune(model, items[[row]], embeddings[row], limit, track_id, config, settings)
        save_exemplar(made, path)
        print(f"  {path.name}: {made.steps} steps, distance {dict(made.distances)[made.steps]:.4f}", flush=True)
    return paths


def choose_decoys(tracks: Sequence[Track], count: int = COUNT) -> list[Track]:
    """Up to `count` decoys that ship with audio, since an exemplar is to be heard; spread over collections."""
    by_collection: dict[str, list[Track]] = {}
    for track in tracks:
        if track.is_decoy and track.path is not None and not track.planted:
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


def compute_nearness_limit(embeddings: torch.Tensor, is_decoy: np.ndarray) -> float:
    """5th percentile over decoys of the distance to the nearest training track; embeddings [N, E] of length 1.

    Raises UserError without decoys.
    """
    if not is_decoy.any():
        raise UserError("exemplars: no decoys, so there is no telling how near is too near; see [corpus] decoys")
    decoys = torch.from_numpy(is_decoy)
    nearest = (1 - embeddings[decoys].double() @ embeddings[~decoys].double().T).min(1).values
    return float(np.percentile(nearest.numpy(), LIMIT_PERCENTILE))


def measure_clip_distance(
    model: Model, item: Items, embedding: torch.Tensor, settings: ClipsSection, clips: int
) -> float:
    """Smallest distance of clips of the exemplar's caption and length, from fixed seeds, to its embedding [E]."""
    prompts = [Prompt(0, item.prompts[0], float(item.seconds[0]), seeds.EXEMPLAR_CHECK + k) for k in range(clips)]
    made = replace(item[[0] * clips], latents=generate_latents(model, prompts, settings, "clips of the exemplar"))
    return float((1 - embed_audio(model, made).double() @ embedding.double()).min())


# -- one exemplar ----------------------------------------------------------------------------------------------------


def fine_tune(
    model: Model,
    item: Items,
    embedding: torch.Tensor,
    limit: float,
    track_id: int,
    config: RunConfig,
    settings: ExemplarSettings,
) -> Exemplar:
    """Train an update on one track up to the last check before its clips cross `limit`, or to the last step.

    At least the update of the first check is kept: an exemplar without training would be none. Where the
    limit is crossed by then, `crossed_at` says so.
    """
    distances = [(0, measure_clip_distance(model, item, embedding, config.clips, settings.clips))]
    crossed_at = 0 if distances[0][1] < limit else None
    if crossed_at == 0:
        print(f"  exemplar {track_id}: clips of the untuned model are nearer than the limit already", flush=True)
    best: tuple[int, LowRankUpdate] | None = None
    for step, update in train_update(model, item, settings):
        with apply_update(model, update):
            distances.append((step, measure_clip_distance(model, item, embedding, config.clips, settings.clips)))
        print(f"  exemplar {track_id}: {step} of {settings.steps} steps, distance {distances[-1][1]:.4f}", flush=True)
        if crossed_at is None and distances[-1][1] < limit:
            crossed_at = step
        if best is None or crossed_at is None:
            best = step, update
        if crossed_at is not None:
            break
    if best is None:
        raise ValueError("a training of no steps gives no update")  # LoraSettings has at least one
    steps, update = best
    return Exemplar(
        update=update,
        track_id=track_id,
        caption=item.prompts[0],
        seconds=float(item.seconds[0]),
        steps=steps,
        distances=tuple(distances),
        limit=limit,
        crossed_at=crossed_at,
        base_sha256=model.sha256,
    )


# -- files -------------------------------------------------------------------------------------------------------


def save_exemplar(exemplar: Exemplar, path: Path) -> None:
    """Write safetensors in fp16, NAME.a and NAME.b; the rest as JSON in the metadata."""
    from safetensors.torch import save as to_bytes

    tensors = {f"{name}.a": value for name, value in exemplar.update.a.items()}
    tensors |= {f"{name}.b": value for name, value in exemplar.update.b.items()}
    record = {name: value for name, value in asdict(exemplar).items() if name != "update"}
    metadata = {"exemplar": json.dumps({**record, "scale": exemplar.update.scale})}
    write_atomically(path, to_bytes({name: value.half().contiguous() for name, value in tensors.items()}, metadata))


def load_exemplar(path: Path, model: Model) -> Exemplar:
    """Read an exemplar of this model. Raises UserError where the file is none, or was made for other weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as handle:
            record = json.loads((handle.metadata() or {})["exemplar"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
        a, b = ({n[:-2]: v for n, v in tensors.items() if n.endswith(end)} for end in (".a", ".b"))
        scale = float(record.pop("scale"))
        record["distances"] = tuple((int(step), float(value)) for step, value in record["distances"])
        exemplar = Exemplar(LowRankUpdate(a, b, scale), **record)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is not an exemplar ({str(error).splitlines()[0]})") from error
    if exemplar.base_sha256 != model.sha256:
        theirs, ours = exemplar.base_sha256[:12], model.sha256[:12]
        raise UserError(f"{path}: made for other weights ({theirs}, here {ours}); delete it and make it again")
    return exemplar
