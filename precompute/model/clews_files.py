"""CLEWS on disk: our own checkpoints (safetensors, with the shape beside the weights) and the published ones.

A published file (`dvi-clews` or `shs-clews` of Zenodo 15045900) says nothing of its shape beyond its weights; what they
do not show is as published.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from precompute.errors import UserError
from precompute.model import pickles
from precompute.model.clews import Clews, ClewsShape


def save(network: Clews, path: Path) -> None:
    """Weights in fp16 with their shape, as safetensors."""
    from safetensors.torch import save as to_bytes

    from precompute.common.files import write_atomically

    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_bytes(weights, {"clews": json.dumps(asdict(network.shape))}))


def load(path: Path, device: str = "cpu") -> Clews:
    """A checkpoint of ours (.safetensors) or a published one (.ckpt, .pt). Raises UserError in one line."""
    if not path.is_file():
        raise UserError(f"{path}: no CLEWS checkpoint here; see [clews] checkpoint")
    try:
        shape, weights = _ours(path) if path.suffix == ".safetensors" else _published(path)
        network = Clews(shape)
        network.load_state_dict(weights)
    except pickles.ERRORS as error:
        reason = (str(error).splitlines() or ["it is empty"])[0]
        raise UserError(f"{path}: this CLEWS checkpoint cannot be loaded ({reason})") from error
    return network.to(device).eval().requires_grad_(False)


def _ours(path: Path) -> tuple[ClewsShape, dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            fields: dict[str, Any] = json.loads((file.metadata() or {})["clews"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    shape = ClewsShape(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})
    return shape, {name: v.float() if v.is_floating_point() else v for name, v in weights.items()}


def _published(path: Path) -> tuple[ClewsShape, dict[str, torch.Tensor]]:
    content = pickles.read_tensors(path)
    weights = content.get("model", content)
    weights = {name: value for name, value in weights.items() if not name.startswith("cqt.")}  # made anew, the same
    return published_shape(weights), weights


def published_shape(weights: dict[str, torch.Tensor]) -> ClewsShape:
    """The published models' shape with the widths and depths that weights by name show."""
    width = [weights["frontend.1.weight"].shape[0], weights["frontend.4.weight"].shape[0]]
    outputs = []
    while (name := f"backbone.{len(outputs)}.convs.5.conv.weight") in weights:
        outputs.append(weights[name].shape[0])
    stages = list(dict.fromkeys(outputs))
    return ClewsShape(
        front=tuple(width),
        blocks=tuple(outputs.count(channels) for channels in stages),
        channels=tuple(stages),
        dimension=weights["proj.1.weight"].shape[0],
    )
