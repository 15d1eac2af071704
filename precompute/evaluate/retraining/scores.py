"""Scores of the bench's clips by any method, under the settings that are compared; kept in half precision.

A variant is a method with one setting changed: `mask`, `t_low` or `damping`. Variants of equal settings share a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from precompute.common.cache import Cache
from precompute.common.files import write_atomically
from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import MASKS, RunConfig
from precompute.errors import UserError
from precompute.evaluate.retraining.real_steps import LENGTHS, STEPS, score_real_steps
from precompute.evaluate.scoring import ScoringInputs, make_scoring_context, restrict_config, run_named_methods
from precompute.gradients.context import Context
from precompute.methods.catalogue import build_method
from precompute.model.diffusion import Model
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import measure_reliability
from precompute.train.retraining.bench import Bench, load_clips

SWEPT = {  # settings that are chosen on one half of the trainings and reported on the other
    "t_low": (0.0, 0.25, 0.5, 0.75),
    "damping": (0.001, 0.01, 0.1, 1.0, 10.0),
}
FORMS: dict[str, dict[str, Any]] = {  # of DAS, beside our default: the published code's, and without a residual
    "published": {"residual": "flat", "squared": True},
    "no residual": {"residual": "none"},
}


@dataclass(frozen=True, order=True)
class Variant:
    """A method under the bench's settings, or with one of them changed."""

    method: str
    setting: str = ""  # "", "mask", "uncaptioned", "form", "labels", "real steps", "t_low", "damping"
    value: str = ""  # as text, so that names of variants can be kept

    @property
    def name(self) -> str:
        """Its name in tables: "dtrak", "unlearning mask=none"."""
        return f"{self.method} {self.setting}={self.value}" if self.setting else self.method

    def configure(self, config: RunConfig) -> RunConfig:
        """The bench's config with the variant's setting."""
        if self.setting == "mask":
            return replace(config, unlearning=replace(config.unlearning, mask=self.value))
        if self.setting == "t_low":
            low, sections = float(self.value), ("bank", "unlearning", "fisher")
            return replace(config, **{name: replace(getattr(config, name), t_low=low) for name in sections})
        if self.setting == "uncaptioned":
            share, both = float(self.value), ("bank", "unlearning")
            return replace(config, **{name: replace(getattr(config, name), uncaptioned=share) for name in both})
        if self.setting == "damping" and METHOD_SETTINGS[self.method] is None:  # unlearning: that of the Fisher
            return replace(config, fisher=replace(config.fisher, damping=float(self.value)))
        if self.setting and self.setting != "real steps":  # those are no setting of a run
            changed: dict[str, Any] = {self.setting: float(self.value) if self.setting == "damping" else self.value}
            changed = FORMS[self.value] if self.setting == "form" else changed
            own = config.methods.settings.get(self.method, METHOD_SETTINGS[self.method])
            settings = {**config.methods.settings, self.method: replace(own, **changed)}
            return replace(config, methods=replace(config.methods, settings=settings))
        return config


@dataclass(frozen=True)
class BenchScores:
    """Scores of one variant."""

    scores: np.ndarray  # [Q, N], higher = stronger
    reliability: float | None  # split-half over draws; None where nothing is drawn
    seconds: float  # for all clips, as if it had run alone


def list_variants(methods: Sequence[str], masked: Sequence[str], swept: Sequence[str]) -> list[Variant]:
    """All methods as configured; `masked` ones under the other masks; `swept` ones over t_low and damping."""
    variants = [Variant(name) for name in methods]
    variants += [Variant(name, "mask", mask) for mask in MASKS for name in masked]
    variants += [Variant(name, "uncaptioned", "0.25") for name in masked]
    variants += [Variant("das", "form", form) for form in FORMS if "das" in methods]
    variants += [Variant("unlearning-ekfac", "labels", "observed")] if "unlearning-ekfac" in methods else []
    if "unlearning" in methods:
        real = [f"{steps} of {length:g}" for steps in STEPS for length in LENGTHS]
        variants += [Variant("unlearning", "real steps", value) for value in real]
    for setting, values in SWEPT.items():
        variants += [Variant(name, setting, str(value)) for value in values for name in swept]
    return variants


def score_variants(
    bench: Bench, model: Model, variants: Sequence[Variant], rows: Sequence[int]
) -> dict[Variant, BenchScores]:
    """Score some of the bench's clips by its full model, variants of one configuration together; a killed run goes on.

    Methods that cannot run are left out, with a printed line each.
    """
    clips, cache = load_clips(bench), Cache(Path(bench.config.output.work) / "cache")
    inputs = ScoringInputs(bench.tracks, bench.items, clips[rows], cohort=clips[[0, 1]])
    groups: list[tuple[RunConfig, list[Variant]]] = []
    for variant in variants:
        config = variant.configure(bench.config)
        fitting = [own for known, own in groups if known == config]
        fitting[0].append(variant) if fitting else groups.append((config, [variant]))
    found: dict[Variant, BenchScores] = {}
    as_they_are = Normalisation(np.ones(len(bench.tracks)), *2 * (np.zeros((2, len(bench.tracks))),))
    for config, together in groups:
        print(f"scoring: {', '.join(variant.name for variant in together)}", flush=True)
        own = [variant for variant in together if variant.setting != "real steps"]
        names = list(dict.fromkeys(variant.method for variant in own))
        restricted = restrict_config(config, names, len(bench.tracks), other_weights=True)
        context = make_scoring_context(model, inputs, restricted, cache)
        try:
            judged = run_named_methods(context, names)
        except UserError as error:
            print(f"  {error}", flush=True)
            continue
        for variant in together:
            if variant.setting == "real steps":
                found[variant] = _score_real_steps(context, variant)
            elif variant.method in judged.done:
                run = judged.done[variant.method]
                reliability = measure_reliability(run.result.cells, as_they_are, np.arange(len(bench.tracks)))
                found[variant] = BenchScores(run.result.score, reliability, run.cost_s)
    return found


def _score_real_steps(context: Context, variant: Variant) -> BenchScores:
    """Scores of a variant "4 of 0.01": four steps, the first of that relative length."""
    steps, _, length = variant.value.split()
    focused = build_method("unlearning", context.config, len(context.trained)).focus(context)
    scores = score_real_steps(focused, int(steps), float(length))
    seconds = context.cache.sum_seconds(focused.method, focused.method_key)
    return BenchScores(scores, None, seconds)


def write_scores(path: Path, found: dict[Variant, BenchScores]) -> None:
    """Keep scores [Q, N] by a variant's name in half precision, each clip's between -1 and 1 about its middle.

    `NAME range` [Q, 2] float32: middle and half width, which give the scores back.
    """
    arrays = {}
    for variant, one in found.items():
        low, high = one.scores.min(1, keepdims=True), one.scores.max(1, keepdims=True)
        middle, half = (high + low) / 2, np.maximum((high - low) / 2, 1e-30)
        arrays[variant.name] = ((one.scores - middle) / half).astype(np.float16)
        arrays[f"{variant.name} range"] = np.concatenate([middle, half], 1).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda handle: np.savez_compressed(handle, **arrays))


def read_scores(path: Path) -> dict[str, np.ndarray]:
    """Scores [Q, N] float64 by a variant's name. Raises UserError."""
    if not path.is_file():
        raise UserError(f"{path}: not found; run `python -m precompute evaluate retraining` first")
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name].astype(np.float64) for name in archive.files}
    names = [name for name in arrays if not name.endswith(" range")]
    return {n: arrays[n] * arrays[f"{n} range"][:, 1:] + arrays[f"{n} range"][:, :1] for n in names}
