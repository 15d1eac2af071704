"""What a pass needs, from sizes alone: no torch. P parameters, F latent frames; bytes and floating-point operations."""

from __future__ import annotations

from dataclasses import dataclass

HALVES = 2  # rows a stored clip has among the directions


@dataclass(frozen=True)
class Size:
    """A diffusion transformer."""

    parameters: int  # P, in the layers that an unlearning step changes
    width: int  # of its tokens
    depth: int  # layers
    channels: int  # C, of a latent


EMBEDDED = Size(4_700_000, 256, 4, 48)  # assets/demo, near enough; what is measured replaces it
REAL = Size(1_060_000_000, 1536, 24, 64)  # stable-audio-open-1.0, as in arXiv 2506.18312


def rows_of(clips: int, cohort: int) -> int:
    """Directions: a row for each half of a stored clip, one for a clip of the cohort (windows of clips apart)."""
    return HALVES * clips + cohort


def operations(size: Size, frames: int) -> float:
    """Of one gradient by one draw: forward 2 P F, and 4 F^2 width a layer in attention; backward twice that."""
    return 3 * (2.0 * size.parameters * frames + 4.0 * frames**2 * size.width * size.depth)
