"""Low-rank updates of the transformer layers: LoRA (Hu et al. 2021, arXiv 2106.09685).

Every matrix W [out, in] becomes W + scale B A with A [rank, in] and B [out, rank]. Only A and B are trained; B starts
at zero, so the first update is nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from precompute.common import seeds
from precompute.config.run import fingerprint
from precompute.errors import UserError
from precompute.gradients.weights import restored_weights
from precompute.model.diffusion import Items, Model, NoiseBank


@dataclass(frozen=True)
class LoraSettings:
    """Settings of the training of an update; it checks itself."""

    rank: int = 4
    scale: float = 1.0  # of B A
    steps: int = 120  # at most
    learning_rate: float = 2e-3  # AdamW, constant
    draws: int = 8  # a step: one in each stratum of t, new noise each step
    check_every: int = 24  # steps between looks at the result
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "steps", "draws", "check_every"):
            if getattr(self, name) < 1:
                raise UserError(f"exemplars: {name} = {getattr(self, name)}: must be at least 1")
        if self.learning_rate <= 0:
            raise UserError(f"exemplars: learning_rate = {self.learning_rate}: must be above 0")


@dataclass(frozen=True)
class LowRankUpdate:
    """Low-rank updates of matrices, by the parameter's name; fp16, as they are stored."""

    a: dict[str, torch.Tensor]  # [rank, in]
    b: dict[str, torch.Tensor]  # [out, rank]
    scale: float

    def compute_change(self, name: str) -> torch.Tensor:
        """scale B A of one parameter, [out, in] float32."""
        return self.scale * (self.b[name].float() @ self.a[name].float())


def freeze_matrices(model: Model) -> dict[str, torch.Tensor]:
    """The transformer layers' weights with two axes [out, in] by name; the network takes no gradients from here on."""
    matrices: dict[str, torch.Tensor] = {name: p for name, p in model.parameters("all").items() if p.ndim == 2}
    model.network.requires_grad_(False)
    return matrices


def train_update(model: Model, item: Items, settings: LoraSettings) -> Iterator[tuple[int, LowRankUpdate]]:
    """Yield (step, update so far) at every check and at the last step; the base weights are only read.

    v-objective over all padded frames of one track under its own caption, in eval mode (no dropout).
    """
    weights = freeze_matrices(model)
    generator = torch.Generator().manual_seed(settings.seed)
    a, b = {}, {}
    for name, weight in weights.items():  # A random, B zero: the first update is nothing
        start = torch.randn(settings.rank, weight.shape[1], generator=generator) / math.sqrt(weight.shape[1])
        a[name] = start.to(model.device).requires_grad_(True)
        b[name] = torch.zeros(weight.shape[0], settings.rank, device=model.device, requires_grad=True)
    optimiser = torch.optim.AdamW([*a.values(), *b.values()], lr=settings.learning_rate, weight_decay=0.0)
    with torch.no_grad():
        condition = model.condition(item)
    for step in range(1, settings.steps + 1):
        # one bank per step: its seed follows from the run's seed and the step
        bank = NoiseBank(1, settings.draws, 1, seed=seeds.EXEMPLAR_BANK + settings.seed * 100_003 + step)
        draws = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in bank.cells()]
        t, eps = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
        merged = {name: weight + settings.scale * (b[name] @ a[name]) for name, weight in weights.items()}
        loss = model.frame_loss(item.latents[0], condition, t, eps, weights=merged).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if step % settings.check_every == 0 or step == settings.steps:
            half_a, half_b = ({name: v.detach().half().cpu() for name, v in side.items()} for side in (a, b))
            yield step, LowRankUpdate(half_a, half_b, settings.scale)


@contextlib.contextmanager
def apply_update(model: Model, update: LowRankUpdate) -> Iterator[None]:
    """Let the model have the merged weights within the block; at its end every bit is as before.

    Inside, the model's hashes name the tuned weights, so that no cache takes their results for theta_0's.
    """
    transformer: Any = model.network.model
    weights = {name: p for name, p in transformer.named_parameters() if name in update.a}
    hashes = model.sha256, model.inputs_sha256
    content = fingerprint(update.scale, hash_tensors({**{f"{n}.a": v for n, v in update.a.items()}, **update.b}))
    with restored_weights(weights):
        try:
            with torch.no_grad():
                for name, parameter in weights.items():
                    parameter.add_(update.compute_change(name).to(model.device))
            model.sha256, model.inputs_sha256 = (fingerprint(value, content) for value in hashes)
            yield
        finally:
            model.sha256, model.inputs_sha256 = hashes


def hash_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names and bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
