"""What a method is, and the list of them.

A method supplies the maths: the directions of a clip, and partial scores of a track along given directions. Loops,
caching, resuming, errors, normalisation, q-values and storing are the engine's business (`engine.py`), not its own.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from precompute.methods.unlearning import Unlearning
from precompute.model import Items, Model, NoiseBank


class Method(Protocol):
    """A way of scoring by directions in weight space."""

    name: str
    label: str
    description: str  # one plain sentence
    has_moments: bool

    def directions(self, model: Model, clip: Items, inverse_fisher: torch.Tensor, windows: bool) -> torch.Tensor:
        """[HALVES, W, P]: preconditioned steps of one clip, whose dot products with a track's gradient are scores."""

    def gradients(self, model: Model, track: Items, bank: NoiseBank) -> torch.Tensor:
        """[R x S, P]: one row a cell of the bank."""

    def moments(self, model: Model, track: Items, direction: torch.Tensor, bank: NoiseBank) -> torch.Tensor:
        """[F]: the score along one direction [P], frame by frame; its mean is the score."""

    def settings(self) -> dict[str, Any]:
        """For the record."""


REGISTRY = {Unlearning.name: Unlearning}
