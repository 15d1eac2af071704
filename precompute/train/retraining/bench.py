"""The bench itself: its tracks, its beginning, one training, and what a trained model is asked.

The bench model has the autoencoder, the CLAP and the config of the run's model, with a smaller transformer and a
shorter window. Tracks are the training tracks of the run, heard for one window from their start; every n-th work is cut
shorter and zero-padded, as silence masks need. Times in seconds.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt
from precompute.common import seeds
from precompute.common.cache import Cache, Entry
from precompute.common.progress import progress
from precompute.common.sequences import spread_evenly
from precompute.config.retraining import RetrainingSection
from precompute.config.run import RunConfig
from precompute.corpus.audio import read_audio
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import hash_tracks
from precompute.corpus.packed import read_latents, write_latents
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.model.batches import Items, NoiseBank
from precompute.model.diffusion import Model, load_model
from precompute.train.exemplars import embed_audio
from precompute.train.loop import LoopSettings, fit
from precompute.train.retraining.keyed_loss import KeyedLoss, order_draws
from precompute.train.retraining.plan import Training
from precompute.train.scratch import make_fresh_model, make_trainable, update_hashes

LOSSES = ("whole", "noisy", "whole_masked", "noisy_masked")  # schedule and frames that a clip's loss is the mean of
REGENERATED = ("latent_distance", "clap_similarity")  # of a clip made again from its seed, to the clip


@dataclass(frozen=True)
class Bench:
    """Everything that all trainings of a bench share."""

    config: RunConfig
    tracks: list[Track]  # [N], all trained on by the full model
    items: Items  # [N], of `tracks`
    base: Model  # autoencoder, CLAP and config of every model of the bench; its transformer is untrained
    key: str  # names by content all that a training depends on, beside its own rows and seed

    @property
    def section(self) -> RetrainingSection:
        """The settings."""
        return self.config.retraining

    @property
    def work(self) -> Path:
        """Folder of states that trainings resume from; may be deleted at any time."""
        return Path(self.config.output.work) / "retraining" / self.key

    @property
    def results(self) -> Path:
        """Folder of what is kept."""
        return Path(self.section.results)


def open_bench(config: RunConfig) -> Bench:
    """Make tracks and model of a bench. Raises UserError where no track has audio, or the window does not fit."""
    section, model = config.retraining, load_model(config)
    longest = model.sample_size / model.sample_rate
    if section.seconds > longest:
        raise UserError(f"[retraining] seconds = {section.seconds}: the model hears {longest:g} s at most")
    base = make_fresh_model(model, section.seed, shrink_config(model, section))
    tracks = shorten_tracks([t for t in load_corpus(config).tracks if not t.is_decoy and t.path is not None], section)
    if not tracks:
        raise UserError("retrain: no training track of this run has audio")
    key = name_bench(model, tracks, section)
    items = encode_tracks(base, tracks, Cache(Path(config.output.work) / "cache"), key)
    return Bench(config, tracks, items, base, key)


def name_bench(model: Model, tracks: Sequence[Track], section: RetrainingSection) -> str:
    """A key of all that a training depends on, beside its rows and seed.

    Not by `fingerprint`, which counts versions of cached results: hours of training outlive those.
    """
    named = "seconds embed_dim depth num_heads steps batch learning_rate muon_rate warmup_steps ema_decay bf16".split()
    settings = {name: getattr(section, name) for name in named}
    data = json.dumps([model.inputs_sha256, hash_tracks(tracks), settings], sort_keys=True)
    return hashlib.sha256(data.encode()).hexdigest()[:16]


def shrink_config(model: Model, section: RetrainingSection) -> dict[str, object]:
    """The model's config with the bench's window and transformer."""
    config = copy.deepcopy(model.config)
    config["sample_size"] = int(section.seconds * model.frame_rate) * model.ratio
    sizes = {name: getattr(section, name) for name in ("embed_dim", "depth", "num_heads")}
    config["model"]["diffusion"]["config"].update(sizes)
    return config


def shorten_tracks(tracks: Sequence[Track], section: RetrainingSection) -> list[Track]:
    """The tracks with the lengths that the bench hears: all of a window, or `short_s` of every n-th work."""
    works = sorted({track.work_id for track in tracks})
    short = set(works[:: section.short_every]) if section.short_every else set()
    lengths = [section.short_s if track.work_id in short else section.seconds for track in tracks]
    return [replace(t, duration_s=min(t.duration_s, length)) for t, length in zip(tracks, lengths, strict=True)]


def encode_tracks(model: Model, tracks: Sequence[Track], cache: Cache, key: str) -> Items:
    """The tracks' items; each is cut to its length before it is encoded, so that the rest of the window is silence."""

    def compute() -> dict[str, np.ndarray]:
        rows = []
        for track in progress("latents", tracks):
            if track.path is None:
                raise UserError(f"track {track.track_id}: has no audio")
            wave = read_audio(track.path, model.sample_rate, model.channels)
            rows.append(model.encode(wave[:, : round(track.duration_s * model.sample_rate)]).numpy())
        return {"latents": np.stack(rows)}

    latents = torch.from_numpy(cache.get(Entry("bench-latents", key), compute)["latents"])
    return model.items([t.caption for t in tracks], [t.duration_s for t in tracks], latents)


# -- one training ------------------------------------------------------------------------------------------------------


def train(bench: Bench, training: Training) -> Model:
    """The model of a training, in eval mode; a training that was killed goes on where it was."""
    model, loss, settings = prepare_training(bench, training)
    fit(training.name, model.network, loss, settings, bench.work / training.name)
    model.network.eval().requires_grad_(False)
    return update_hashes(model, bench.base)


def prepare_training(bench: Bench, training: Training) -> tuple[Model, KeyedLoss, LoopSettings]:
    """The fresh model of a training with its loss and the settings of its loop."""
    section = bench.section
    settings = LoopSettings(
        steps=section.steps,
        learning_rate=section.learning_rate,
        muon_rate=section.muon_rate,
        batch=section.batch,
        warmup_steps=section.warmup_steps,
        ema_decay=section.ema_decay,
        bf16=section.bf16,
        save_every=section.save_every,
        log_every=section.save_every,
        seed=training.seed,
    )
    model = make_fresh_model(bench.base, training.seed)
    weights = [track.training_weight for track in bench.tracks]
    draws = order_draws(weights, training.rows, section.steps * section.batch, training.seed)
    network = make_trainable(model)
    return model, KeyedLoss(network, model, bench.items, draws, section.batch, training.seed), settings


def forget_training(bench: Bench, training: Training) -> None:
    """Remove a training's state, once its losses are kept."""
    shutil.rmtree(bench.work / training.name, ignore_errors=True)


# -- what a model is asked ---------------------------------------------------------------------------------------------


def write_prompts(bench: Bench) -> list[Prompt]:
    """Prompts of the clips: captions and lengths of tracks spread evenly over collections, each with its own seed."""
    rows = sorted(range(len(bench.tracks)), key=lambda i: (bench.tracks[i].collection, bench.tracks[i].track_id))
    chosen = [bench.tracks[rows[place]] for place in spread_evenly(len(rows), bench.section.clips)]
    return [
        Prompt(number + 1, track.caption, track.duration_s, seeds.RETRAINING_CLIPS + number)
        for number, track in enumerate(chosen)
    ]


def load_clips(bench: Bench, model: Model | None = None) -> Items:
    """The clips, from the results' folder; made by `model` and written there where they are not. Raises UserError.

    In 8 bits, and so used everywhere: a later machine, whose trainings differ in the last bit, judges equal clips.
    """
    prompts, path = write_prompts(bench), bench.results / "clips.npz"
    if not path.exists():
        if model is None:
            raise UserError(f"{path}: not found; run `python -m precompute retrain` first")
        made = generate_latents(model, prompts, bench.config.clips, "clips").numpy()
        silence = model.encode(np.zeros((model.channels, model.ratio), np.float32)).numpy()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_latents(path, {p.clip_id: z for p, z in zip(prompts, made, strict=True)}, silence)
    latents = read_latents(path)
    if set(latents) != {str(p.clip_id) for p in prompts}:
        raise UserError(f"{path}: holds other clips than [retraining] asks for; remove the folder and begin again")
    stacked = torch.from_numpy(np.stack([latents[str(p.clip_id)] for p in prompts]))
    return bench.base.items([p.text for p in prompts], [p.seconds for p in prompts], stacked)


@torch.no_grad()
def measure_losses(bench: Bench, model: Model, clips: Items) -> dict[str, list[float]]:
    """Losses of the clips [Q] under held-out noise: each of LOSSES, float64 means of fp32 losses.

    "whole" schedule or its "noisy" half, t >= 0.5; of all frames as trained, or "masked": of the valid ones.
    """
    section = bench.section
    bank = NoiseBank(section.replicates, section.strata, 1, section.bank_seed)
    drawn = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in bank.cells()]
    t, eps = torch.cat([d[0] for d in drawn]), torch.cat([d[1] for d in drawn])
    losses: dict[str, list[float]] = {name: [] for name in LOSSES}
    for row in range(len(clips)):
        one = clips[[row]]
        frames = model.frame_loss(one.latents[0], model.condition(one), t, eps).double()  # [D, F]
        for masked in ("", "_masked"):
            own = frames[:, : int(one.valid_frames[0])] if masked else frames
            losses[f"whole{masked}"].append(float(own.mean()))
            losses[f"noisy{masked}"].append(float(own[t >= 0.5].mean()))
    return losses


def compare_regenerated(bench: Bench, model: Model, clips: Items) -> dict[str, list[float]]:
    """Make the clips [Q] again, each from its own prompt and seed, and compare: each of REGENERATED.

    "latent_distance": root mean square over channels and valid frames; "clap_similarity": cosine of CLAP embeddings of
    the decoded audio, in [-1, 1].
    """
    prompts = write_prompts(bench)
    latents = generate_latents(model, prompts, bench.config.clips, "clips again")
    again = bench.base.items([p.text for p in prompts], [p.seconds for p in prompts], latents)
    distances = []
    for one, other, frames in zip(clips.latents, again.latents, clips.valid_frames.tolist(), strict=True):
        distances.append(float((one - other)[:, :frames].double().square().mean().sqrt()))
    answers = {"latent_distance": distances}
    if bench.base.clap is not None:
        heard = [torch.nn.functional.normalize(embed_audio(bench.base, items), dim=1) for items in (clips, again)]
        answers["clap_similarity"] = (heard[0] * heard[1]).sum(1).tolist()
    return answers
