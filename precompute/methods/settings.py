"""Settings of the methods, a frozen dataclass each; a section `[methods.NAME]` of the configuration. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from precompute.errors import need


@dataclass(frozen=True)
class RandomSettings:
    """The floor."""

    seed: int = 404


@dataclass(frozen=True)
class EnsembleSettings:
    """Rank average of other methods."""

    of: tuple[str, ...] = ()  # methods of this run; empty = all of them but `random`

    def __post_init__(self) -> None:
        twice = [name for name in self.of if self.of.count(name) > 1]
        need(not twice, f"[methods.ensemble] of names {twice[:1]} twice")
        need("ensemble" not in self.of, "[methods.ensemble] of names the ensemble itself")
