"""Estimated time, memory and disk of a whole run, from its settings (`check`). The autoencoder is not counted.

Bytes; see `work` for the other conventions.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.cost.work import (
    CPU_EFFICIENCY,
    TransformerSize,
    Work,
    count_directions,
    count_generation,
    count_scoring,
    project_pace,
)

FLAC = 0.7  # of the bytes of the samples


@dataclass(frozen=True)
class RunSize:
    """Sizes that the cost of a run depends on, beside its settings."""

    transformer: TransformerSize  # all its layers
    stepped: int  # P: parameters in the chosen layers
    frames: int  # F
    window_frames: int  # of a clip
    shown: int  # clips to generate and of the user
    targets: int
    tracks: int
    trained: int

    @property
    def windows(self) -> int:
        """Windows of a clip."""
        return math.ceil(self.frames / self.window_frames)


def count_run(config: RunConfig, size: RunSize) -> Work:
    """All gradients, forward passes and products of a run, by the methods of gradients and moments."""
    bank = config.bank
    draws = bank.replicates * bank.strata * bank.draws_per_cell
    fisher_tracks = min(config.fisher.tracks or size.trained, size.trained)
    clips = size.shown + size.targets
    work = count_scoring(config, clips, size.tracks, fisher_tracks)
    work += count_generation(config, size.shown + config.clips.cohort)
    return work + Work(
        forwards=2.0 * size.shown * (size.windows - 1) * config.unlearning.ascent_draws  # backward passes of windows
        + 4.0 * size.shown * min(config.moments.tracks, size.trained) * draws,  # moments, by forward mode
        products=bank.replicates
        * bank.strata
        * size.tracks
        * (count_directions(clips, config.clips.cohort) + size.shown * size.windows),
    )


def estimate_seconds(config: RunConfig, size: RunSize, matmul_tflops: float) -> float:
    """Seconds of a run on a device that does so many 10^12 operations per second in a large product of matrices."""
    pace = project_pace(size.transformer, size.frames, CPU_EFFICIENCY * matmul_tflops * 1e12, size.stepped)
    return count_run(config, size).estimate_seconds(pace)


def estimate_disk_bytes(config: RunConfig, size: RunSize, to_write: Sequence[tuple[Track, int, int]]) -> float:
    """Caches, written audio and store; `to_write`: tracks with the rate and channels of their files."""
    audio = sum(3 * FLAC * t.duration_s * rate * channels for t, rate, channels in to_write)
    latents = 4.0 * size.transformer.channels * size.frames * (size.tracks + size.shown + config.clips.cohort)
    rows = 100.0 * size.tracks * (size.shown + size.targets)
    return audio + latents + estimate_memory_bytes(config, size) + rows


def estimate_memory_bytes(config: RunConfig, size: RunSize) -> float:
    """The directions of all clips, which are held at once."""
    directions = count_directions(size.shown + size.targets, config.clips.cohort) + size.shown * size.windows
    return 4.0 * directions * size.stepped


def read_parameter_counts(checkpoint: Path) -> dict[str, int]:
    """Parameters by name, from the header of a .safetensors file alone; empty for another kind of file."""
    if checkpoint.suffix != ".safetensors":
        return {}
    with checkpoint.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        header = json.loads(handle.read(length))
    return {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
