"""How long a run takes and how much it needs, told beforehand from its settings: right to a factor of two or so.

One forward pass of a transformer of P parameters over F frames is 2 P F operations, a backward pass twice that; the
speed of this machine is measured by a product of matrices. What the autoencoder takes is not counted.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track

EFFICIENCY = 0.8  # of a transformer's passes, against one large product: 4.7 million parameters, 372 frames, two cores
FLAC = 0.7  # of the bytes of the samples


@dataclass(frozen=True)
class Sizes:
    """What the cost of a run depends on, beside its settings."""

    parameters: int  # of the transformer
    stepped: int  # P: of those, in the chosen layers
    frames: int  # F
    channels: int  # C, of a latent
    window_frames: int  # of a clip
    shown: int  # clips to generate and of the user
    targets: int
    tracks: int
    trained: int


def operations(config: RunConfig, sizes: Sizes) -> float:
    """Floating-point operations of the whole run, by the methods of gradients and moments."""
    forward = 2.0 * sizes.parameters * sizes.frames
    windows = math.ceil(sizes.frames / sizes.window_frames)
    draws = config.bank.replicates * config.bank.strata * config.bank.draws_per_cell
    directions = sizes.shown * windows + sizes.targets + config.clips.cohort
    fisher_tracks = min(config.fisher.tracks or sizes.trained, sizes.trained)
    forwards = (
        3.0 * fisher_tracks * config.fisher.draws
        + 3.0 * (sizes.shown + sizes.targets + config.clips.cohort) * config.unlearning.ascent_draws
        + 2.0 * sizes.shown * (windows - 1) * config.unlearning.ascent_draws
        + 3.0 * sizes.tracks * draws
        + 4.0 * sizes.shown * min(config.moments.tracks, sizes.trained) * draws
        + 2.0 * (sizes.shown + config.clips.cohort) * config.clips.steps
    )
    products = 2.0 * sizes.tracks * draws * (2 * (sizes.shown + sizes.targets) + directions) * sizes.stepped
    return forwards * forward + products


def disk_bytes(config: RunConfig, sizes: Sizes, to_write: Sequence[tuple[Track, int, int]]) -> float:
    """Caches, written audio and store; `to_write`: tracks with the rate and channels of their files."""
    audio = sum(3 * FLAC * t.duration_s * rate * channels for t, rate, channels in to_write)
    latents = 4.0 * sizes.channels * sizes.frames * (sizes.tracks + sizes.shown + config.clips.cohort)
    return audio + latents + memory_bytes(config, sizes) + 100.0 * sizes.tracks * (sizes.shown + sizes.targets)


def memory_bytes(config: RunConfig, sizes: Sizes) -> float:
    """The directions of all clips, which are held at once."""
    windows = math.ceil(sizes.frames / sizes.window_frames)
    rows = 2 * (sizes.shown + sizes.targets) + sizes.shown * windows + config.clips.cohort
    return 4.0 * rows * sizes.stepped


def speed(device: str) -> float:
    """Floating-point operations a second of this device in fp32, measured in a fraction of a second."""
    import torch

    one = torch.randn(1024, 1024, device=device)
    out = one @ one
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.3:
        out = one @ out / 32
        count += 1
        if out.is_cuda:
            torch.cuda.synchronize()
    return 2 * 1024**3 * count / (time.perf_counter() - began)


def parameters_of(checkpoint: Path) -> dict[str, int]:
    """Parameters by name, from the header of a .safetensors file alone; empty for another kind of file."""
    if checkpoint.suffix != ".safetensors":
        return {}
    with checkpoint.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        header = json.loads(handle.read(length))
    return {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
