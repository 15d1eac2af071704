"""Settings of the methods that compare sounds or activations, and of MUCS; see `settings.py`. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from precompute.errors import need


@dataclass(frozen=True)
class ClapSettings:
    """Which CLAP."""

    model: str = ""  # ClapModel folder, hub id, or laion_clap .pt; empty = [model] clap


@dataclass(frozen=True)
class ClewsSettings:
    """Which CLEWS, and how windows are paired."""

    checkpoint: str = "data/work/train-clews/clews.safetensors"  # ours, or a published .ckpt
    hop_s: float = 0.0  # between windows; 0 = what the checkpoint says (published: 5)
    pairs: int = 5  # best pairs of windows averaged (the authors evaluate with 10)

    def __post_init__(self) -> None:
        need(self.hop_s >= 0, f"[methods.clews] hop_s = {self.hop_s}: must not be below 0")
        need(self.pairs >= 1, f"[methods.clews] pairs = {self.pairs}: must be at least 1")


@dataclass(frozen=True)
class LpipsSettings:
    """Which activations are compared."""

    layers: int = 4  # how many of the transformer's layers, spread evenly up to the last
    strata: int = 2  # draws a replicate of the noise bank: one in each stratum of the cleaner part
    cleaner: float = 0.5  # part of the schedule, from t = 0
    pooled: bool = False  # average over time first: clip and track need not be aligned

    def __post_init__(self) -> None:
        need(self.layers >= 1, f"[methods.lpips] layers = {self.layers}: must be at least 1")
        need(self.strata >= 1, f"[methods.lpips] strata = {self.strata}: must be at least 1")
        need(0 < self.cleaner <= 1, f"[methods.lpips] cleaner = {self.cleaner}: must be above 0 and at most 1")


@dataclass(frozen=True)
class RpsSettings:
    """Nothing to choose: the noise bank is the run's."""


@dataclass(frozen=True)
class RpsRidgeSettings:
    """How strongly the refitted output layer is held to zero."""

    ridge: float = 0.01  # lambda, of the mean diagonal of the features' second moment

    def __post_init__(self) -> None:
        need(self.ridge > 0, f"[methods.rps-ridge] ridge = {self.ridge}: must be above 0")


@dataclass(frozen=True)
class MucsSettings:
    """As the paper's code has it. For the demo: draws = 16, batch = 12, max_steps = 100."""

    draws: int = 100  # that losses are compared under
    noisier: float = 0.7  # part of the schedule that they come from, from t = 1
    batch: int = 100  # random tracks a step, and as many copies of the clip
    weight: float = 0.2  # of the clip's loss beside the tracks'
    tolerance: float = 0.05  # below L_null at which the clip counts as unlearned
    training_rate: float = 8e-4  # learning rate that the model was trained with; a tenth of it is used
    weight_decay: float = 0.01
    max_steps: int = 10_000  # where a clip is not unlearned by then (the paper's code goes on for ever)
    null_draws: int = 1000  # of an untrained network's loss
    seed: int = 505

    def __post_init__(self) -> None:
        for name in ("draws", "batch", "null_draws", "max_steps"):
            need(getattr(self, name) >= 1, f"[methods.mucs] {name} = {getattr(self, name)}: must be at least 1")
        need(0 < self.noisier <= 1, f"[methods.mucs] noisier = {self.noisier}: must be above 0 and at most 1")
        need(0 < self.tolerance < 1, f"[methods.mucs] tolerance = {self.tolerance}: must be within 0 and 1")
        need(self.weight > 0, f"[methods.mucs] weight = {self.weight}: must be above 0")
        need(self.training_rate > 0, f"[methods.mucs] training_rate = {self.training_rate}: must be above 0")
