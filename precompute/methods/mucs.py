"""MUCS: mirrored unlearning and noise-consistent skew (arXiv 2605.17938); arithmetic in `mucs_arithmetic.py`.

A copy of the network unlearns the clip; a track's score is the mean over draws of (L_u - L_0) / (L_u + L_0 + 0.001):
whose loss rises most, in proportion. Draws are the same before and after and for all tracks. Losses count all padded
frames, as trained. What changes: the weights of the transformer's feed-forward parts and of the embedding of the
conditions (no biases, no attention, no normalisation). Draw k belongs to replicate k mod R.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from precompute.common.cache import Arrays
from precompute.common.parallel import run_jobs
from precompute.common.progress import progress
from precompute.common.seeds import derive_seed
from precompute.methods import passes
from precompute.methods.base import Context, Method, MethodResult
from precompute.methods.mucs_arithmetic import Ascent, noisier_times, skew, unlearn
from precompute.model.diffusion import Items, Model, third_party

TRAINED = (".ff.", ".to_cond_embed.", ".to_global_embed.")  # parts of the names of weights that may change
NULL_BATCH = 16
TRAINING_FACTOR = 10  # the model's learning rate is divided by this


def changeable(model: Model) -> list[nn.Parameter]:
    """The weights that unlearning may change."""
    named = model.network.model.named_parameters()
    return [p for name, p in named if name.endswith("weight") and any(part in f".{name}" for part in TRAINED)]


def item_losses(model: Model, items: Items, t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """[B]: loss of each item under its own draw, t [B], eps [B, C, F]; mean over channels and all padded frames."""
    return model.frame_loss(items.latents, model.condition(items), t, eps).mean(1)


def random_draws(model: Model, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """t [count], uniform as in training, and eps [count, C, F]."""
    t = torch.rand(count, generator=generator)
    return t, torch.randn(count, model.latent_channels, model.frames, generator=generator)


@contextmanager
def restored(parameters: list[nn.Parameter]) -> Iterator[None]:
    """The parameters may change within, with gradients, and are put back exactly."""
    before = [p.detach().clone() for p in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.requires_grad_(False)
                parameter.copy_(value)
                parameter.grad = None


class Mucs(Method):
    """Rise of a track's loss, in proportion, once a copy of the network has unlearned the clip."""

    name = "mucs"
    label = "MUCS"
    description = (
        "Train a copy of the model until it no longer knows the clip; a track scores by how far its loss rises."
    )
    cost = "one short training and one pass over all tracks for every clip: by far the dearest"

    def scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        context.model.network.requires_grad_(False)
        null_loss = float(context.kept("null", lambda: {"loss": np.array(self._null_loss(context))})["loss"])
        before = context.kept("before", lambda: {"losses": self._losses(context, "MUCS, before")})["losses"]
        clips = context.clips

        def kept(number: int) -> Arrays:
            kind, row = clips[number]
            return context.kept(
                f"{kind}-{row:04d}", lambda: self._one(context, context.clip(kind, row), number, before, null_loss)
            )

        jobs = range(len(clips))
        run_jobs("MUCS, clips", jobs, kept, passes.workers(context), context.cache)
        found = [kept(number) for number in jobs]
        skews = np.stack([arrays["skew"] for arrays in found])  # [Q + K, N, R]
        limited = [
            f"{kind} {row + 1}" for (kind, row), arrays in zip(clips, found, strict=True) if not arrays["reached"]
        ]
        stored = len(context.stored)
        return MethodResult(
            cells=skews[:stored, :, :, None, None],
            cohort=skews[stored:].mean(2),
            remarks=(
                ("null_loss", null_loss, "loss of an untrained network, which an unlearned clip must come near"),
                ("steps_mean", float(np.mean([a["steps"] for a in found])), "training steps it took to unlearn a clip"),
                ("clips_on_the_limit", float(len(limited)), _limit(limited, len(clips))),
            ),
        )

    def _null_loss(self, context: Context) -> float:
        """Mean loss of the network as it is before any training, over random training tracks and draws."""
        model, count = context.model, self.settings.null_draws
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            untrained = third_party.untrained_transformer(model.config)
        weights = {name: p.detach().to(model.device) for name, p in untrained.named_parameters()}
        generator = torch.Generator().manual_seed(self.settings.seed)
        total = 0.0
        with torch.no_grad():
            for start in range(0, count, NULL_BATCH):
                size = min(NULL_BATCH, count - start)
                items = self._random_tracks(context, size, generator)
                t, eps = random_draws(model, size, generator)
                total += float(model.frame_loss(items.latents, model.condition(items), t, eps, weights).mean(1).sum())
        return total / count

    def _random_tracks(self, context: Context, count: int, generator: torch.Generator) -> Items:
        trained = sorted(context.trained, key=lambda row: context.tracks[row].track_id)
        return context.items[[trained[i] for i in torch.randint(len(trained), (count,), generator=generator)]]

    @torch.no_grad()
    def _losses(self, context: Context, what: str = "") -> np.ndarray:
        """Loss of every track under every draw, [N, D] float32, of the network as it is now."""
        model, settings = context.model, self.settings
        t = noisier_times(settings.draws, settings.noisier)
        generator = torch.Generator().manual_seed(settings.seed + 1)
        eps = torch.randn(settings.draws, model.latent_channels, model.frames, generator=generator)
        rows = range(len(context.items))
        found = []
        for row in progress(what, rows) if what else rows:
            track = context.items[[row]]
            found.append(model.frame_loss(track.latents[0], model.condition(track), t, eps).mean(1).cpu())
        return torch.stack(found).numpy()

    def _one(self, context: Context, clip: Items, number: int, before: np.ndarray, null_loss: float) -> Arrays:
        """Unlearn one clip and compare: skew [N, R], and how the unlearning ended."""
        model, settings = context.model, self.settings
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, number + 2))
        copies = clip[[0] * settings.batch]

        def losses(step: int) -> tuple[torch.Tensor, torch.Tensor]:
            retain = self._random_tracks(context, settings.batch, generator)
            draws = [random_draws(model, settings.batch, generator) for _ in range(2)]
            return item_losses(model, retain, *draws[0]), item_losses(model, copies, *draws[1])

        parameters = changeable(model)
        ascent = Ascent(
            learning_rate=settings.training_rate / TRAINING_FACTOR,
            weight=settings.weight,
            tolerance=settings.tolerance,
            weight_decay=settings.weight_decay,
            max_steps=settings.max_steps,
        )
        with restored(parameters), torch.enable_grad():
            outcome = unlearn(parameters, losses, null_loss, ascent)
            after = self._losses(context)
        skews = skew(*(torch.from_numpy(part).double() for part in (before, after)))  # [N, D]
        replicates = min(context.bank.replicates, settings.draws)
        return {
            "skew": np.stack([skews[:, k::replicates].mean(1).numpy() for k in range(replicates)], axis=1),
            "steps": np.array(outcome.steps),
            "reached": np.array(outcome.reached),
        }


def _limit(limited: list[str], clips: int) -> str:
    """What the remark on the limit says."""
    which = f": {', '.join(limited[:20])}{' and more' if len(limited) > 20 else ''}" if limited else ""
    return f"clips of {clips} that were not unlearned when the limit of steps stopped them{which}"
