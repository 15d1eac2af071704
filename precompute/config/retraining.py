"""Section `[retraining]`: the bench on which small models are trained without some of the works. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from precompute.errors import need


@dataclass(frozen=True)
class RetrainingSection:
    """Trainings of `python -m precompute retrain`, and what their models are asked."""

    # the bench model: autoencoder, CLAP and config of [model], with a smaller transformer and a shorter window
    seconds: float = 4.0  # of the window
    embed_dim: int = 128
    depth: int = 3
    num_heads: int = 4
    short_every: int = 6  # every n-th work is cut to `short_s` and zero-padded to the window, as masks need; 0 = none
    short_s: float = 1.5
    # the trainings
    halves: int = 64  # random halves of the works, stratified by collection
    repeats: int = 8  # of the halves that are trained a second time, with another seed: the ceiling of any prediction
    full: int = 3  # trainings on all works, each with a seed of its own
    steps: int = 2000
    batch: int = 12
    learning_rate: float = 8e-4
    muon_rate: float = 0.02
    warmup_steps: int = 100
    ema_decay: float = 0.995
    bf16: bool = False  # autocast in training: at this size on a CPU it saves nothing
    save_every: int = 250  # steps between resumable checkpoints
    seed: int = 1717
    # what the models are asked
    clips: int = 48  # of the first full model, captions of training tracks
    replicates: int = 2  # of the held-out noise bank, the whole schedule
    strata: int = 16
    bank_seed: int = 606
    # works removed one clip at a time, once `evaluate retraining` has scored the clips
    remove: int = 16  # works that a method ranks first
    removal_clips: int = 8
    removal_methods: tuple[str, ...] = ()  # whose first works are removed; beside them random works of the same styles
    results: str = "assets/benchmarks/retraining"  # folder of losses, clips and scores: small, to be kept

    def __post_init__(self) -> None:
        for name in (
            "embed_dim",
            "depth",
            "num_heads",
            "steps",
            "batch",
            "clips",
            "replicates",
            "save_every",
            "remove",
        ):
            need(getattr(self, name) >= 1, f"[retraining] {name} = {getattr(self, name)}: must be at least 1")
        need(self.embed_dim % self.num_heads == 0, f"[retraining] num_heads = {self.num_heads}: must divide embed_dim")
        for name in ("short_every", "removal_clips", "warmup_steps"):
            need(getattr(self, name) >= 0, f"[retraining] {name} = {getattr(self, name)}: must be 0 or more")
        need(self.full >= 1, f"[retraining] full = {self.full}: the clips are made by the first full model")
        need(self.halves >= 4, f"[retraining] halves = {self.halves}: a rank correlation needs at least 4")
        need(0 <= self.repeats <= self.halves, f"[retraining] repeats = {self.repeats}: must be 0 to halves")
        need(0 < self.short_s < self.seconds, f"[retraining] short_s = {self.short_s}: must be within the window")
        even = self.strata >= 2 and self.strata % 2 == 0
        need(even, f"[retraining] strata = {self.strata}: must be even, for the noisier half is reported apart")
        need(self.removal_clips <= self.clips, "[retraining] removal_clips: more than there are clips")
