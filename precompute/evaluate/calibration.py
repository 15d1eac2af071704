"""Calibration of the test of *above noise*: how often it finds something where nothing is, and where something is.

Nothing to find: all training tracks are left out, and in many random splits a tenth of the decoys' works plays training
tracks; the other decoys are what these are compared with. Whatever is found is false, so the share of clips with any
finding is the false discovery rate, nominally at most 0.10. A tenth, since a half would leave too few decoys for the
test to fire at all. Something to find: planted tracks, whose influence is known (data/README.md).

Only generated clips are judged, whose scores have standard errors. Intervals, 95 %: works drawn with replacement, or
Clopper & Pearson (1934) for counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorer.store.above_noise import TESTED_BINS, judge_pairs
from precompute.common.cache import Cache
from precompute.common.results import Row, describe_hardware, format_table, write_result
from precompute.config.run import RunConfig
from precompute.corpus.intake import load_corpus
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.exemplars.low_rank import apply_update
from precompute.exemplars.tuned_pass import PLANTED, TunedPass, plan_tuned_pass
from precompute.gradients.context import Context
from precompute.methods.run import MethodRun, run_methods
from precompute.model.diffusion import load_model
from precompute.pipeline import calibrate_run, group_clips, make_context, score_tuned_clips
from precompute.significance.verdicts import TrackRoles, Verdicts, assign_roles

PLAYING = 0.1  # share of the decoys' works that play training tracks
RESAMPLES, SPLITS = 200, 10  # of the works; of each of them
POINTS = (0.01, 0.05)  # p-values at which the shares of nulls are named
CURVE = tuple(round(0.005 * k, 3) for k in range(1, 101))  # p-values of the P-P curve
NULL_COLUMNS = ("method", "clips_with_finding", "low", "high", "could_fire", "style_p01", "caption_p01")
POWER_COLUMNS = ("method", "planted", "found", "of", "low", "high")


@dataclass(frozen=True)
class NullInputs:
    """Decoys alone: Q generated clips, then K of the cohort; D decoys."""

    score: np.ndarray  # [Q + K, D], raw
    std_error: np.ndarray  # [Q, D]
    match_bin: np.ndarray  # [Q + K, D]
    work: np.ndarray  # [D] int


def evaluate_calibration(config: RunConfig, out: Path) -> dict[str, Any]:
    """Print the tables for a run's methods and write JSON to `out`; returns what was written. Scores: from the caches.

    Raises UserError without decoys.
    """
    corpus, model = load_corpus(config), load_model(config)
    roles = assign_roles(corpus.tracks)
    if not roles.is_decoy.any():
        raise UserError("evaluate calibration: the corpus has no decoys, and without them no test can be checked")
    context, prompts = make_context(model, corpus, config, Cache(Path(config.output.work) / "cache"))
    clips = group_clips(context)
    rows: list[Row] = []
    power: list[Row] = []
    texts = [prompt.text for prompt in prompts]
    completed = run_methods(context, config.methods.run).completed
    for run in completed:
        calibrated = calibrate_run(run, roles, clips)
        verdicts = calibrated.verdicts
        inputs = select_decoys(verdicts, calibrated.normalisation.raw, clips.match_bin, roles, clips.generated)
        measured = measure_false_findings(inputs)
        rows.append({"method": run.method.name, "split": "works", **measured, "reliability": calibrated.reliability})
        power += [{"method": run.method.name, **row} for row in measure_power(verdicts, corpus.tracks, texts)]
        print(f"  {run.method.name}: done", flush=True)
    tuned = plan_tuned_pass(model, corpus, config, prompts)
    if tuned is not None:
        power += measure_exemplar_power(tuned, context, completed)
    print(format_table(rows, NULL_COLUMNS), format_table(power, POWER_COLUMNS), sep="\n\n", flush=True)
    return write_result(
        out,
        f"the test of above noise where nothing is to be found, and where something is: {clips.generated} clips",
        "python -m precompute evaluate calibration",
        describe_hardware(str(model.device)),
        rows,
        repeats=RESAMPLES * SPLITS,
        power=power,
        curve=CURVE,
        model_sha256=model.sha256,
    )


def select_decoys(
    verdicts: Verdicts, cohort: np.ndarray, match_bin: np.ndarray, roles: TrackRoles, generated: int
) -> NullInputs:
    """The decoys' part of one method's results; `cohort`: raw scores [K, N]; `match_bin`: of all clips."""
    decoys = ~roles.trained
    shown = verdicts.score[:generated]
    bins = np.concatenate([match_bin[:generated], match_bin[len(verdicts.score) :]])
    return NullInputs(
        score=np.concatenate([shown, cohort])[:, decoys],
        std_error=verdicts.std_error[:generated, decoys],
        match_bin=bins[:, decoys],
        work=np.unique(roles.work[decoys], return_inverse=True)[1],
    )


def measure_false_findings(
    inputs: NullInputs, resamples: int = RESAMPLES, splits: int = SPLITS, seed: int = 0
) -> dict[str, Any]:
    """Shares over random splits; `low` and `high`: over resampled works.

    `clips_with_finding`: of the generated clips with anything to test; `could_fire`: of these, the share in which even
    a lone track could have been found. `style_p01` and the like: share of p-values of that bin at most 0.01, 0.05.
    `style_curve`, `caption_curve`: the same at `CURVE`. None where no clip has anything to test.
    """
    rng = np.random.default_rng(seed)
    whole = [_split_once(inputs, rng) for _ in range(resamples)]
    by_resample: list[float] = []
    for _ in range(resamples):
        resampled = _resample_works(inputs, rng)
        found = [_split_once(resampled, rng).share for _ in range(splits)]
        by_resample += [float(np.mean(shares))] if (shares := _drop_absent(found)) else []
    row: dict[str, Any] = {"clips_with_finding": None, "low": None, "high": None, "could_fire": None}
    if by_resample and (shares := _drop_absent([split.share for split in whole])):
        low, high = np.quantile(by_resample, [0.025, 0.975])
        fires = _drop_absent([split.could_fire for split in whole])
        row = {"clips_with_finding": float(np.mean(shares)), "low": float(low), "high": float(high)}
        row["could_fire"] = float(np.mean(fires))
    row["splits"] = resamples
    for number, name in zip(TESTED_BINS, ("style", "caption"), strict=True):
        p = np.concatenate([split.p_value[number] for split in whole])
        row |= {f"{name}_p{point:.2f}".replace("0.", ""): _share(p, point) for point in POINTS}
        row[f"{name}_curve"] = [_share(p, point) for point in CURVE]
    return row


@dataclass(frozen=True)
class Split:
    """One random split."""

    share: float  # of the tested clips: any finding; NaN where no clip was tested
    could_fire: float  # of them
    p_value: dict[int, np.ndarray]  # of playing decoys, by match bin


def _split_once(inputs: NullInputs, rng: np.random.Generator) -> Split:
    """Judge with a random tenth of the works as training tracks."""
    works = int(inputs.work.max()) + 1
    plays = np.isin(inputs.work, rng.permutation(works)[: max(1, round(PLAYING * works))])
    judged, every = len(inputs.std_error), np.ones(len(inputs.score), bool)
    claims = judge_pairs(inputs.score, inputs.std_error, inputs.match_bin, ~plays, inputs.work, judged, every)
    tested = np.isfinite(claims.q_value).any(1)
    fires = np.zeros(judged, bool)
    for record in claims.bins:
        fires[record.clip] |= record.can_tell
    p_value = {}
    for number in TESTED_BINS:
        own = (inputs.match_bin[:judged] == number) & np.isfinite(claims.q_value)
        p_value[number] = claims.p_value[own]
    if not tested.any():
        return Split(np.nan, np.nan, p_value)
    return Split(float(claims.above_noise.any(1)[tested].mean()), float(fires[tested].mean()), p_value)


def _resample_works(inputs: NullInputs, rng: np.random.Generator) -> NullInputs:
    """Works drawn with replacement; copies of one work stay together on one side."""
    works = int(inputs.work.max()) + 1
    rows_of = [np.flatnonzero(inputs.work == number) for number in range(works)]
    chosen = np.concatenate([rows_of[number] for number in rng.integers(0, works, works)])
    return NullInputs(
        inputs.score[:, chosen],
        inputs.std_error[:, chosen],
        inputs.match_bin[:, chosen],
        np.unique(inputs.work[chosen], return_inverse=True)[1],
    )


def _drop_absent(shares: Sequence[float]) -> list[float]:
    return [share for share in shares if np.isfinite(share)]


def _share(p_value: np.ndarray, point: float) -> float | None:
    return float((p_value <= point).mean()) if len(p_value) else None


def measure_power(verdicts: Verdicts, tracks: Sequence[Track], texts: Sequence[str]) -> list[Row]:
    """How many planted tracks are found by the clips of their caption: a row for each planted case.

    `texts`: prompts of the generated clips. `found` and `of` count clips: with the weighted track (its twin; any track
    of the rare style) above noise.
    """
    rows = []
    for planted in ("weighted", "twin", "rare", "exemplar"):
        found = total = 0
        for q, text in enumerate(texts):
            own = [row for row, t in enumerate(tracks) if t.planted == planted and t.caption == text and not t.is_decoy]
            if own:
                total += 1
                found += int(verdicts.above_noise[q, own].any())
        if total:
            low, high = compute_clopper_pearson(found, total)
            rows.append({"planted": planted, "found": found, "of": total, "low": low, "high": high})
    return rows


def measure_exemplar_power(tuned: TunedPass, main: Context, done: list[MethodRun]) -> list[Row]:
    """`measure_power` of the exemplars, by the clips of the model that was tuned on them."""
    with apply_update(main.model, tuned.tuning.update):
        _, runs = score_tuned_clips(tuned, main, done)
    texts, rows = [prompt.text for prompt in tuned.prompts], []
    for one in runs:
        found = measure_power(one.verdicts, tuned.corpus.tracks, texts)
        rows += [{"method": one.run.method.name, **row} for row in found if row["planted"] == PLANTED]
    return rows


def compute_clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion from `count` of `total` cases (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, count, total - count + 1)) if count else 0.0
    return low, float(beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0
