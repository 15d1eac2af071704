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


def _positive(section: str, **values: float) -> None:
    for name, value in values.items():
        need(value > 0, f"[methods.{section}] {name} = {value}: must be above 0")


@dataclass(frozen=True)
class InfluenceSettings:
    """Products of gradients; layers, mask and draws are those of `[unlearning]`."""

    damping: float = 0.0  # of the mean Fisher, added to its diagonal, which is then inverted; 0 = no curvature
    normalise_timesteps: bool = False  # every draw's gradient is scaled to length 1

    def __post_init__(self) -> None:
        need(self.damping >= 0, f"[methods] damping = {self.damping}: must be 0 or more")


@dataclass(frozen=True)
class TracinSettings:
    """The same, summed over checkpoints of training."""

    checkpoints: str = ""  # folder with step-NNNNNN/model.safetensors; empty = that of [diagnostics]
    most: int = 4  # checkpoints, spread evenly
    normalise_timesteps: bool = False

    def __post_init__(self) -> None:
        _positive("tracin", most=self.most)


@dataclass(frozen=True)
class EkfacSettings:
    """Curvature in Kronecker factors."""

    damping: float = 0.1  # of the mean eigenvalue
    draws: int = 2  # a training track: one in each stratum of t
    tracks: int = 0  # how many training tracks; 0 = all
    seed: int = 111

    def __post_init__(self) -> None:
        _positive("unlearning-ekfac", damping=self.damping, draws=self.draws)
        need(self.tracks >= 0, f"[methods.unlearning-ekfac] tracks = {self.tracks}: must be 0 (all) or more")


@dataclass(frozen=True)
class GramSettings:
    """Gram correction."""

    damping: float = 0.03  # of the mean squared length of a training track's whitened gradient
    width: int = 16384  # of the sketch
    form: str = "auto"  # tracks = N x N with exact products; sketch = k x k; auto = the former up to 4,096 tracks
    leverage: bool = False  # divide a training track's score by 1 - its leverage
    normalise_timesteps: bool = False
    seed: int = 505

    def __post_init__(self) -> None:
        _positive("unlearning-gram", damping=self.damping, width=self.width)
        known = ("auto", "tracks", "sketch")
        need(self.form in known, f"[methods.unlearning-gram] form = {self.form!r}: choose one of {', '.join(known)}")


@dataclass(frozen=True)
class TrakSettings:
    """Projected gradients."""

    damping: float = 0.1  # of the mean squared length of a training track's projected gradient
    width: int = 16384  # of the projection
    normalise_timesteps: bool = False
    seed: int = 505

    def __post_init__(self) -> None:
        _positive("trak", damping=self.damping, width=self.width)


@dataclass(frozen=True)
class DasSettings(TrakSettings):
    """Residual and leverage beside."""

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
            need(value in known, f"[methods.das] {name} = {value!r}: choose one of {', '.join(map(str, known))}")
