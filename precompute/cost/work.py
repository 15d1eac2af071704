"""Work of a computation, counted from sizes alone, and the seconds that it takes at a given pace. Needs no torch.

Conventions: P parameters, F latent frames; floating-point operations; bytes; times in seconds. A forward pass takes a
third of a gradient. Right to a factor of two or so.
"""

from __future__ import annotations

from dataclasses import dataclass

from precompute.config.run import RunConfig

HALVES = 2  # directions of a stored clip
FORWARD = 1 / 3  # of a gradient
CPU_EFFICIENCY = 0.8  # of a transformer's passes against one large product: 4.7 million parameters, 372 frames, 2 cores


@dataclass(frozen=True)
class TransformerSize:
    """Sizes of a diffusion transformer."""

    parameters: int  # P, in the layers that an unlearning step changes
    width: int  # of its tokens
    depth: int  # layers
    channels: int  # C, of a latent


EMBEDDED = TransformerSize(4_700_000, 256, 4, 48)  # assets/demo, near enough; what is measured replaces it
REAL = TransformerSize(1_060_000_000, 1536, 24, 64)  # stable-audio-open-1.0, as in arXiv 2506.18312


def count_gradient_operations(size: TransformerSize, frames: int) -> float:
    """Operations of a gradient by one draw: forward 2 P F and, a layer, 4 F^2 width in attention; backward twice."""
    return (2.0 * size.parameters * frames + 4.0 * frames**2 * size.width * size.depth) / FORWARD


@dataclass(frozen=True)
class Pace:
    """Seconds of the two things that are repeated most."""

    gradient_s: float  # a gradient by one draw
    product_s: float = 0.0  # of one gradient with one direction


def project_pace(size: TransformerSize, frames: int, operations_s: float, stepped: int) -> Pace:
    """The pace of a device that does so many operations per second; `stepped`: parameters of a direction."""
    return Pace(count_gradient_operations(size, frames) / operations_s, 2.0 * stepped / operations_s)


@dataclass(frozen=True)
class Work:
    """Counts of the operations that are repeated most."""

    gradients: float = 0.0  # by one draw, shared by all workers
    alone: float = 0.0  # gradients that are taken one after another, whatever workers there are
    forwards: float = 0.0  # forward passes
    products: float = 0.0  # of a gradient with a direction

    def __add__(self, other: Work) -> Work:
        return Work(
            self.gradients + other.gradients,
            self.alone + other.alone,
            self.forwards + other.forwards,
            self.products + other.products,
        )

    def estimate_seconds(self, pace: Pace, workers: int = 1) -> float:
        """Seconds at a worker's pace."""
        shared = (self.gradients + FORWARD * self.forwards) * pace.gradient_s + self.products * pace.product_s
        return shared / workers + self.alone * pace.gradient_s


def count_directions(clips: int, cohort: int) -> int:
    """Directions: one for each half of a stored clip, one for a clip of the cohort (windows of clips apart)."""
    return HALVES * clips + cohort


def count_scoring(config: RunConfig, clips: int, tracks: int, fisher_tracks: int = 0) -> Work:
    """Work to score clips and the cohort against tracks by gradients; `fisher_tracks`: of a curvature of its own."""
    bank, clips = config.bank, clips + config.clips.cohort
    return Work(
        gradients=clips * config.unlearning.ascent_draws + tracks * bank.replicates * bank.strata * bank.draws_per_cell,
        alone=fisher_tracks * config.fisher.draws,
    )


def count_generation(config: RunConfig, clips: int) -> Work:
    """Work to make so many clips, guided: two forward passes per step."""
    return Work(forwards=2.0 * clips * config.clips.steps)


def count_pass(cells: int, directions: int, rounds: int) -> Work:
    """Work for one track: a gradient per cell and round, a product per cell and direction."""
    return Work(gradients=cells * rounds, products=cells * directions)
