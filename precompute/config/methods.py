"""The settings of every method: a frozen dataclass each, section `[methods.NAME]` of a config.

Methods may share a class: messages name the field alone, and what reads the section puts its name before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from precompute.errors import need


def _need_positive(**values: float) -> None:
    for name, value in values.items():
        need(value > 0, f"{name} = {value}: must be above 0")


@dataclass(frozen=True)
class RandomSettings:
    """random: standard normal scores, the floor that every method must beat."""

    seed: int = 404


@dataclass(frozen=True)
class EnsembleSettings:
    """ensemble: the average of the ranks of other methods."""

    of: tuple[str, ...] = ()  # methods of this run; empty = all of them but `random`

    def __post_init__(self) -> None:
        twice = [name for name in self.of if self.of.count(name) > 1]
        need(not twice, f"of names {twice[:1]} twice")
        need("ensemble" not in self.of, "of names the ensemble itself")


@dataclass(frozen=True)
class InfluenceSettings:
    """influence: products of gradients; layers, mask and draws are those of `[unlearning]`."""

    damping: float = 0.0  # of the mean Fisher, added to its diagonal, which is then inverted; 0 = no curvature
    normalise_timesteps: bool = False  # every draw's gradient is scaled to length 1

    def __post_init__(self) -> None:
        need(self.damping >= 0, f"damping = {self.damping}: must be 0 or more")


@dataclass(frozen=True)
class TracinSettings:
    """tracin: products of gradients, summed over checkpoints of training."""

    checkpoints: str = ""  # folder with step-NNNNNN/model.safetensors; empty = that of [diagnostics]
    most: int = 4  # checkpoints, spread evenly
    normalise_timesteps: bool = False

    def __post_init__(self) -> None:
        _need_positive(most=self.most)


@dataclass(frozen=True)
class EkfacSettings:
    """unlearning-ekfac: curvature in Kronecker factors."""

    damping: float = 0.1  # of the mean eigenvalue
    draws: int = 2  # per training track: one in each stratum of t, from t_low of [fisher] up
    tracks: int = 0  # how many training tracks; 0 = all
    labels: str = "sampled"  # sampled from the model: Gauss-Newton; observed: the empirical Fisher
    seed: int = 111

    def __post_init__(self) -> None:
        _need_positive(damping=self.damping, draws=self.draws)
        need(self.labels in ("sampled", "observed"), f"labels = {self.labels!r}: choose sampled or observed")
        need(self.tracks >= 0, f"tracks = {self.tracks}: must be 0 (all) or more")


@dataclass(frozen=True)
class GramSettings:
    """unlearning-gram: correction by the Gram matrix of the training tracks' gradients."""

    damping: float = 0.03  # of the mean squared length of a training track's whitened gradient
    width: int = 16384  # of the sketch
    form: str = "auto"  # tracks = N x N with exact products; sketch = k x k; auto = the former up to 4,096 tracks
    leverage: bool = False  # divide a training track's score by 1 - its leverage
    normalise_timesteps: bool = False
    seed: int = 505

    def __post_init__(self) -> None:
        _need_positive(damping=self.damping, width=self.width)
        known = ("auto", "tracks", "sketch")
        need(self.form in known, f"form = {self.form!r}: choose one of {', '.join(known)}")


@dataclass(frozen=True)
class TrakSettings:
    """trak, dtrak, trackstar: projected gradients."""

    damping: float = 0.1  # of the mean squared length of a training track's projected gradient
    width: int = 16384  # of the projection
    normalise_timesteps: bool = False
    seed: int = 505

    def __post_init__(self) -> None:
        _need_positive(damping=self.damping, width=self.width)


@dataclass(frozen=True)
class DasSettings(TrakSettings):
    """das: projected gradients with residual and leverage."""

    output: str = "mean"  # what is differentiated: mean of the output (as published), or its square
    residual: str = "error"  # error = root mean squared; flat = of unit length over timesteps; none = left out
    leverage: int = 1  # power of 1 / (1 - leverage); 0 = left out
    squared: bool = False
    normalise_timesteps: bool = True  # as published

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (
            ("output", self.output, ("mean", "square")),
            ("residual", self.residual, ("error", "flat", "none")),
            ("leverage", self.leverage, (0, 1, 2)),
        ):
            need(value in known, f"{name} = {value!r}: choose one of {', '.join(map(str, known))}")


@dataclass(frozen=True)
class PatchSettings:
    """patches: how long the compared passages are."""

    lengths_s: tuple[float, ...] = (0.25, 0.5, 1.0)  # seconds; all count alike

    def __post_init__(self) -> None:
        need(bool(self.lengths_s) and min(self.lengths_s) > 0, f"lengths_s = {list(self.lengths_s)}: must be above 0")


@dataclass(frozen=True)
class ClapSettings:
    """clap: which CLAP."""

    model: str = ""  # ClapModel folder, hub id, or laion_clap .pt; empty = [model] clap


@dataclass(frozen=True)
class ClewsSettings:
    """clews: which CLEWS, and how windows are paired."""

    checkpoint: str = "data/work/train-clews/clews.safetensors"  # ours, or a published .ckpt
    hop_s: float = 0.0  # between windows; 0 = what the checkpoint says (published: 5)
    pairs: int = 5  # best pairs of windows averaged (the authors evaluate with 10)

    def __post_init__(self) -> None:
        need(self.hop_s >= 0, f"hop_s = {self.hop_s}: must not be below 0")
        need(self.pairs >= 1, f"pairs = {self.pairs}: must be at least 1")


@dataclass(frozen=True)
class LpipsSettings:
    """lpips: which activations are compared."""

    layers: int = 4  # how many of the transformer's layers, spread evenly up to the last
    strata: int = 2  # draws per replicate of the noise bank: one in each stratum of the cleaner part
    cleaner: float = 0.5  # part of the schedule, from t = 0
    pooled: bool = False  # average over time first: clip and track need not be aligned

    def __post_init__(self) -> None:
        need(self.layers >= 1, f"layers = {self.layers}: must be at least 1")
        need(self.strata >= 1, f"strata = {self.strata}: must be at least 1")
        need(0 < self.cleaner <= 1, f"cleaner = {self.cleaner}: must be above 0 and at most 1")


@dataclass(frozen=True)
class RpsSettings:
    """rps: nothing to choose; the noise bank is the run's."""


@dataclass(frozen=True)
class RpsRidgeSettings:
    """rps-ridge: how strongly the refitted output layer is held to zero."""

    ridge: float = 0.01  # lambda, of the mean diagonal of the features' second moment

    def __post_init__(self) -> None:
        _need_positive(ridge=self.ridge)


@dataclass(frozen=True)
class MucsSettings:
    """mucs: defaults of the paper's code. For the demo: draws = 16, batch = 12, max_steps = 100."""

    draws: int = 100  # that losses are compared under
    noisier: float = 0.7  # part of the schedule that they come from, from t = 1
    batch: int = 100  # random tracks per step, and as many copies of the clip
    weight: float = 0.2  # of the clip's loss beside the tracks'
    tolerance: float = 0.05  # below L_null at which the clip counts as unlearned
    training_rate: float = 8e-4  # learning rate that the model was trained with; a tenth of it is used
    weight_decay: float = 0.01
    max_steps: int = 10_000  # at most; a clip may not be unlearned by then (the paper's code has no limit)
    null_draws: int = 1000  # of an untrained network's loss
    seed: int = 505

    def __post_init__(self) -> None:
        for name in ("draws", "batch", "null_draws", "max_steps"):
            need(getattr(self, name) >= 1, f"{name} = {getattr(self, name)}: must be at least 1")
        need(0 < self.noisier <= 1, f"noisier = {self.noisier}: must be above 0 and at most 1")
        need(0 < self.tolerance < 1, f"tolerance = {self.tolerance}: must be within 0 and 1")
        _need_positive(weight=self.weight, training_rate=self.training_rate)


# Every method by name, with its default settings, in the order of the documentation. The code: methods/catalogue.py.
METHOD_SETTINGS: dict[str, Any] = {
    "unlearning": None,  # its settings stand in section [unlearning]
    "unlearning-output": None,  # the same
    "unlearning-ekfac": EkfacSettings(),
    "unlearning-gram": GramSettings(),
    "influence": InfluenceSettings(),
    "influence-damped": InfluenceSettings(damping=1.0),
    "tracin": TracinSettings(),
    "trak": TrakSettings(),
    "dtrak": TrakSettings(),
    "das": DasSettings(),
    "trackstar": TrakSettings(),
    "mucs": MucsSettings(),
    "clap": ClapSettings(),
    "clews": ClewsSettings(),
    "patches": PatchSettings(),
    "lpips": LpipsSettings(),
    "rps": RpsSettings(),
    "rps-ridge": RpsRidgeSettings(),
    "random": RandomSettings(),
    "ensemble": EnsembleSettings(),
}


def follows_training(name: str) -> bool:
    """True for a method that looks at checkpoints of the training: it cannot judge weights made in another way."""
    return hasattr(METHOD_SETTINGS[name], "checkpoints")
