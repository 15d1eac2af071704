"""The network's precision, attention and compilation in the pass over tracks, by `[pass]` of a config.

Weights, gradients and products stay fp32; under bf16 the matrix products of the forward and backward pass are bf16.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from precompute.errors import UserError
from precompute.model.diffusion import Model

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def predict(
    model: Model, latents: torch.Tensor, condition: dict[str, Any], t: torch.Tensor, eps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Call `model.predict` with the model's `arithmetic`; the result is float32 under bf16 too. Raises UserError."""
    settings = model.arithmetic
    low = settings.precision == "bf16"
    with torch.autocast(model.device.type, torch.bfloat16, enabled=low), _choose_attention(settings.attention):
        try:
            predicted, target = model.predict(latents, condition, t, eps, compiled=settings.compile)
        except RuntimeError as error:
            if settings.attention == "fused" and "No available kernel" in str(error):
                raise UserError("[pass] attention = 'fused': torch has no such kernel here; choose auto") from error
            raise
    return (predicted.float() if low else predicted), target


def _choose_attention(name: str) -> AbstractContextManager[Any]:
    if name == "auto":
        return nullcontext()
    return sdpa_kernel(FUSED if name == "fused" else [SDPBackend.MATH])
