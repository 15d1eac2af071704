"""MUCS: mirrored unlearning and noise-consistent skew (arXiv 2605.17938).

A copy of the network unlearns the clip; a track's score is the mean over draws of (L_u - L_0) / (L_u + L_0 + 0.001):
whose loss rises most, in proportion. Draws are the same before and after and for all tracks. Losses count all padded
frames, as trained. What changes: the weights of the transformer's feed-forward parts and of the embedding of the
conditions (no biases, no attention, no normalisation). Draw k belongs to replicate k mod R.

Mirrored ascent: descend on mean L(retain) - weight x mean min(L(clip), L_null), with AdamW, until the clip's clamped
loss over a batch is within `tolerance` of L_null, the loss of a network that knows nothing. Losses are per item. The
check comes before the step, so a clip that is unknown to begin with takes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from precompute.common.cache import Arrays
from precompute.common.parallel import run_jobs
from precompute.common.progress import progress
from precompute.common.seeds import derive_seed
from precompute.gradients.context import Context
from precompute.gradients.weights import restored_weights
from precompute.methods.base import Method, MethodResult
from precompute.methods.passes import count_model_workers
from precompute.model.diffusion import Items, Model, third_party

TRAINED = (".ff.", ".to_cond_embed.", ".to_global_embed.")  # parts of the names of weights that may change
NULL_BATCH = 16
TRAINING_FACTOR = 10  # the model's learning rate is divided by this


ComputeLosses = Callable[
    [int], tuple[torch.Tensor, torch.Tensor]
]  # step -> losses of random tracks [B], of the clip [B]


@dataclass(frozen=True)
class AscentSettings:
    """Settings of one unlearning."""

    learning_rate: float
    weight: float = 0.2  # of the clip's loss beside the tracks'
    tolerance: float = 0.05  # below L_null at which the clip counts as unlearned
    weight_decay: float = 0.01
    max_steps: int = 0  # 0 = as many as it takes


@dataclass(frozen=True)
class UnlearnOutcome:
    """The end of one unlearning."""

    steps: int
    reached: bool  # False: it stopped on the limit
    clip_loss: float  # clamped, of the last batch


def unlearn_clip(
    parameters: Sequence[nn.Parameter], compute_losses: ComputeLosses, null_loss: float, settings: AscentSettings
) -> UnlearnOutcome:
    """Unlearn the clip by changing `parameters` in place, until its loss is near `null_loss` or `max_steps` are done.

    A step descends on the mean loss of random tracks less `weight` times the clip's loss, clamped at `null_loss`.
    """
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    step = 0
    while True:
        retain, clip = compute_losses(step)
        clamped = clip.clamp(max=null_loss).mean()
        reached = clamped.item() >= (1 - settings.tolerance) * null_loss
        if reached or step == settings.max_steps > 0:
            return UnlearnOutcome(step, reached, clamped.item())
        optimiser.zero_grad(set_to_none=True)
        (retain.mean() - settings.weight * clamped).backward()
        optimiser.step()
        step += 1


def compute_skew(before: torch.Tensor, after: torch.Tensor, floor: float = 1e-3) -> torch.Tensor:
    """(L_u - L_0) / (L_u + L_0 + floor), elementwise, for losses of the same draws before and after; in (-1, 1)."""
    return (after - before) / (after + before + floor)


def choose_times(draws: int, share: float) -> torch.Tensor:
    """[D] times from 1 (pure noise) downwards: the first `draws` of an even grid that they fill up to `share`."""
    return torch.linspace(1, 0, int(draws / share))[:draws]


def select_trained(model: Model) -> dict[str, nn.Parameter]:
    """The weights that unlearning may change, by name."""
    named = model.network.model.named_parameters()
    return {name: p for name, p in named if name.endswith("weight") and any(part in f".{name}" for part in TRAINED)}


def compute_item_losses(model: Model, items: Items, t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """[B]: loss of each item under its own draw, t [B], eps [B, C, F]; mean over channels and all padded frames."""
    return model.frame_loss(items.latents, model.condition(items), t, eps).mean(1)


def draw_noise(model: Model, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """t [count], uniform as in training, and eps [count, C, F]."""
    t = torch.rand(count, generator=generator)
    return t, torch.randn(count, model.latent_channels, model.frames, generator=generator)


@contextmanager
def trainable_weights(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """The parameters may be trained within, and are put back exactly."""
    with restored_weights(parameters):
        try:
            for parameter in parameters.values():
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter in parameters.values():
                parameter.requires_grad_(False)
                parameter.grad = None


class Mucs(Method):
    """Rise of a track's loss, in proportion, once a copy of the network has unlearned the clip."""

    name = "mucs"
    label = "MUCS"
    description = (
        "Train a copy of the model until it no longer knows the clip; a track scores by how far its loss rises."
    )
    cost = "one short training and one pass over all tracks for every clip: by far the dearest"

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Unlearn clip after clip, and compare the tracks' losses before and after."""
        context.model.network.requires_grad_(False)
        null = context.cache_piece("null", lambda: {"loss": np.array(self._compute_null_loss(context))})
        null_loss = float(null["loss"])
        before = context.cache_piece("before", lambda: {"losses": self._compute_losses(context, "MUCS, before")})
        clips = context.clips

        def load(number: int) -> Arrays:
            kind, row = clips[number]
            return context.cache_piece(
                f"{kind}-{row:04d}", lambda: self._score_clip(context, number, before["losses"], null_loss)
            )

        jobs = range(len(clips))
        run_jobs("MUCS, clips", jobs, load, count_model_workers(context), context.cache)
        results = [load(number) for number in jobs]
        skews = np.stack([arrays["skew"] for arrays in results])  # [Q + K, N, R]
        limited = [
            f"{kind} {row + 1}" for (kind, row), arrays in zip(clips, results, strict=True) if not arrays["reached"]
        ]
        steps, stored = float(np.mean([arrays["steps"] for arrays in results])), len(context.stored)
        return MethodResult(
            cells=skews[:stored, :, :, None, None],
            cohort=skews[stored:].mean(2),
            remarks=(
                ("null_loss", null_loss, "loss of an untrained network, which an unlearned clip must come near"),
                ("steps_mean", steps, "training steps it took to unlearn a clip"),
                ("clips_on_the_limit", float(len(limited)), _word_limit(limited, len(clips))),
            ),
        )

    def _compute_null_loss(self, context: Context) -> float:
        """Mean loss of the network as it is before any training, over random training tracks and draws."""
        model, count = context.model, self.settings.null_draws
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            untrained = third_party.create_transformer(model.config)
        weights = {name: p.detach().to(model.device) for name, p in untrained.named_parameters()}
        generator = torch.Generator().manual_seed(self.settings.seed)
        total = 0.0
        with torch.no_grad():
            for start in range(0, count, NULL_BATCH):
                size = min(NULL_BATCH, count - start)
                items = self._draw_tracks(context, size, generator)
                t, eps = draw_noise(model, size, generator)
                total += float(model.frame_loss(items.latents, model.condition(items), t, eps, weights).mean(1).sum())
        return total / count

    def _draw_tracks(self, context: Context, count: int, generator: torch.Generator) -> Items:
        trained = sorted(context.trained, key=lambda row: context.tracks[row].track_id)
        return context.items[[trained[i] for i in torch.randint(len(trained), (count,), generator=generator)]]

    @torch.no_grad()
    def _compute_losses(self, context: Context, label: str = "") -> np.ndarray:
        """Loss of every track under every draw, [N, D] float32, of the network as it is now."""
        model, settings = context.model, self.settings
        t = choose_times(settings.draws, settings.noisier)
        generator = torch.Generator().manual_seed(settings.seed + 1)
        eps = torch.randn(settings.draws, model.latent_channels, model.frames, generator=generator)
        rows = range(len(context.items))
        losses = []
        for row in progress(label, rows) if label else rows:
            track = context.items[[row]]
            losses.append(model.frame_loss(track.latents[0], model.condition(track), t, eps).mean(1).cpu())
        return torch.stack(losses).numpy()

    def _score_clip(self, context: Context, number: int, before: np.ndarray, null_loss: float) -> Arrays:
        """Unlearn one clip and compare: skew [N, R], and how the unlearning ended."""
        model, settings = context.model, self.settings
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, number + 2))
        copies = context.select_clip(*context.clips[number])[[0] * settings.batch]

        def compute_losses(step: int) -> tuple[torch.Tensor, torch.Tensor]:
            retain = self._draw_tracks(context, settings.batch, generator)
            draws = [draw_noise(model, settings.batch, generator) for _ in range(2)]
            return compute_item_losses(model, retain, *draws[0]), compute_item_losses(model, copies, *draws[1])

        parameters = select_trained(model)
        ascent = AscentSettings(
            learning_rate=settings.training_rate / TRAINING_FACTOR,
            weight=settings.weight,
            tolerance=settings.tolerance,
            weight_decay=settings.weight_decay,
            max_steps=settings.max_steps,
        )
        with trainable_weights(parameters), torch.enable_grad():
            outcome = unlearn_clip(list(parameters.values()), compute_losses, null_loss, ascent)
            after = self._compute_losses(context)
        skews = compute_skew(torch.from_numpy(before).double(), torch.from_numpy(after).double())  # [N, D]
        replicates = min(context.bank.replicates, settings.draws)
        return {
            "skew": np.stack([skews[:, k::replicates].mean(1).numpy() for k in range(replicates)], axis=1),
            "steps": np.array(outcome.steps),
            "reached": np.array(outcome.reached),
        }


def _word_limit(limited: list[str], clips: int) -> str:
    """The remark on the limit of steps."""
    which = f": {', '.join(limited[:20])}{' and more' if len(limited) > 20 else ''}" if limited else ""
    return f"clips of {clips} that were not unlearned when the limit of steps stopped them{which}"
