"""Section [pass] of a config."""

from __future__ import annotations

from dataclasses import dataclass

from precompute.errors import need

PRECISIONS = ("fp32", "bf16")
ATTENTIONS = ("auto", "fused", "plain")


@dataclass(frozen=True)
class PassSection:
    """How the tracks' gradients are computed, and in what pieces. Only `precision` may change a score."""

    precision: str = "fp32"  # bf16: forward passes of tracks under autocast; clips' gradients stay fp32
    memory_gb: float = 8.0  # of one process, beside the model: gradients of tracks and directions of clips
    shard_tracks: int = 16  # tracks a file in `precompute pass`
    attention: str = "auto"  # what torch chooses; fused: never the plain one (GPU); plain: never a fused one
    compile: bool = False  # torch.compile the network: pays on a GPU, after a minute or two at the start

    def __post_init__(self) -> None:
        for name, known in (("precision", PRECISIONS), ("attention", ATTENTIONS)):
            need(getattr(self, name) in known, f"[pass] {name} = {getattr(self, name)!r}: choose {' or '.join(known)}")
        need(self.memory_gb > 0, f"[pass] memory_gb = {self.memory_gb}: must be above 0")
        need(self.shard_tracks >= 1, f"[pass] shard_tracks = {self.shard_tracks}: must be at least 1")
