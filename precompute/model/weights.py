"""Weights on disk -> tensors by name, fp32. Nothing in a file is ever run."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from precompute.errors import UserError

EMA = "diffusion_ema.ema_model."  # of a training checkpoint of stable-audio-tools: averaged weights of the transformer
TRAINED = "diffusion."  # the whole model as it was last


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Of a .safetensors file, or of a .ckpt that holds nothing but weights and plain values.

    A training checkpoint gives its averaged (EMA) weights where it has them. Raises UserError; ValueError and
    SafetensorError where a file is damaged.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return {name: value.float() for name, value in load_file(str(path)).items()}
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than weights, or is damaged, and is not run; "
            "export it by stable-audio-tools' unwrap_model.py, or save it as .safetensors"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path}: holds no table of weights")
    return {name: value.float() for name, value in unwrapped(state).items()}


def unwrapped(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's own names, of a training checkpoint's; others are returned as they are."""
    if not any(name.startswith(TRAINED) for name in state):
        return state
    own = {name.removeprefix(TRAINED): value for name, value in state.items() if name.startswith(TRAINED)}
    own |= {"model." + name.removeprefix(EMA): value for name, value in state.items() if name.startswith(EMA)}
    return own
