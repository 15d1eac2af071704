"""Low-rank updates of the transformer layers: LoRA (Hu et al. 2021, arXiv 2106.09685).

Every matrix W [out, in] becomes W + scale B A with A [rank, in] and B [out, rank].
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from precompute.config.run import fingerprint
from precompute.gradients.weights import restored_weights
from precompute.model.diffusion import Model


@dataclass(frozen=True)
class LowRankUpdate:
    """Low-rank updates of matrices, by the parameter's name; fp16, as they are stored."""

    a: dict[str, torch.Tensor]  # [rank, in]
    b: dict[str, torch.Tensor]  # [out, rank]
    scale: float

    def compute_change(self, name: str) -> torch.Tensor:
        """scale B A of one parameter, [out, in] float32."""
        return self.scale * (self.b[name].float() @ self.a[name].float())


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
            model.sha256, model.inputs_sha256 = (_hash_texts(value, content) for value in hashes)
            yield
        finally:
            model.sha256, model.inputs_sha256 = hashes


def hash_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names and bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _hash_texts(*texts: str) -> str:
    """SHA-256 of several texts, 64 hexadecimal digits."""
    return hashlib.sha256("|".join(texts).encode()).hexdigest()
