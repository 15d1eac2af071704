"""The verb `evaluate retraining`: every method's LDS beside the ceiling, settings chosen apart, a table and a picture.

Rows have method, setting and value (empty: as the bench's config has it), truth (loss of the whole schedule or of its
noisier half, masked: over valid frames), trainings (all halves, or the odd ones, where a setting was chosen on the even
ones), lds with low and high, difference to the default method with its interval, reliability and seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from precompute.common.results import Row, describe_hardware, format_table, write_result
from precompute.common.sequences import spread_evenly
from precompute.config.methods import METHOD_SETTINGS, follows_training
from precompute.config.run import RunConfig
from precompute.errors import UserError, need
from precompute.evaluate.ranking import bootstrap_interval
from precompute.evaluate.retraining.lds import (
    bootstrap_lds,
    compute_lds,
    find_interval,
    measure_ceiling,
    predict_answers,
)
from precompute.evaluate.retraining.scores import (
    BenchScores,
    Variant,
    list_variants,
    score_variants,
    write_scores,
)
from precompute.evaluate.scoring import check_method_names
from precompute.train.retraining.bench import LOSSES, REGENERATED, Bench, open_bench, train
from precompute.train.retraining.ledger import Answers
from precompute.train.retraining.plan import FULL, RANDOM, Training, choose_removals, fix_removals, plan_trainings
from precompute.train.retraining.run import REMOVALS, open_ledger

TRUTHS = ("whole_masked", "noisy_masked")  # a clip's loss over the frames that it has
MASKED = ("dtrak", "unlearning")  # judged under every mask
SWEPT = ("dtrak", "unlearning")  # judged under other t_low and damping
SLOW = ("mucs",)  # left out unless asked for
REMOVAL_COLUMNS = ("measure", "method", "clips", "change", "low", "high", "beyond_random", "beyond_low", "beyond_high")
COLUMNS = ("method", "setting", "value", "truth", "trainings", "lds", "low", "high", "reliability", "seconds")


def evaluate_retraining(
    config: RunConfig, out: Path, methods: Sequence[str] = (), clips: int = 0, picture: Path | None = None
) -> dict[str, Any]:
    """Score the bench's clips, hold the scores against the trainings done so far, print a table, write JSON to `out`.

    `methods`: instead of all that can judge a bench; `clips`: only so many, spread evenly, as a dear method asks for;
    0 = all, whose scores are then kept. Raises UserError for an unknown method, negative `clips`, or where fewer than
    four halves are done.
    """
    need(clips >= 0, f"--clips {clips}: must be 0 (all) or more")
    if methods:
        methods = check_method_names(methods)
    bench = open_bench(config)
    answers = open_ledger(bench).read()
    trainings = plan_trainings(bench.tracks, bench.section)
    halves = [one for one in trainings if one.name in answers and one.seed == bench.section.seed and one.name != FULL]
    if len(halves) < 4:
        raise UserError(f"evaluate retraining: {len(halves)} halves are trained, 4 are needed; run `retrain` first")
    names = list(methods) or [n for n in METHOD_SETTINGS if not follows_training(n) and n not in SLOW]
    variants = list_variants(names, [n for n in MASKED if n in names], [n for n in SWEPT if n in names])
    chosen = spread_evenly(bench.section.clips, clips)
    found = score_variants(bench, train(bench, trainings[0]), variants, chosen)
    scores = {variant.name: one.scores for variant, one in found.items()}
    wanted = bench.section.removal_methods if not clips else ()
    if not clips:
        write_scores(bench.results / "scores.npz", found)
    if wanted and len(halves) == bench.section.halves and all(name in scores for name in wanted):
        fix_removals(bench.results / REMOVALS, choose_removals(bench.tracks, bench.section, scores))
    judge = Judge(bench, halves, [answers[one.name] for one in halves], found, chosen)
    rows = [row for truth in TRUTHS for row in judge.compare(truth, [v for v in found if not v.setting])]
    rows += [row for truth in LOSSES for row in judge.compare(truth, [v for v in found if v.setting == "mask"])]
    forms = [v for v in found if v.setting in ("uncaptioned", "form", "labels", "real steps")]
    rows += [row for truth in TRUTHS for row in judge.compare(truth, forms)]
    rows += [row for truth in TRUTHS for row in judge.choose_settings(truth)]
    ceilings = measure_ceilings(trainings, answers)
    removals = judge_removals(answers)
    print(format_table(rows, COLUMNS), flush=True)
    print(format_table(ceilings, ("truth", "halves", "correlation", "low", "high", "attainable_lds")), flush=True)
    if removals:
        print(format_table(removals, REMOVAL_COLUMNS), flush=True)
    if picture is not None:
        draw_lds(rows, ceilings, picture)
    return write_result(
        out,
        f"LDS of {len(names)} methods on {len(chosen)} clips and {len(halves)} halves of {len(bench.tracks)}"
        " tracks, cut by work and stratified by collection",
        "python -m precompute evaluate retraining",
        describe_hardware(str(bench.base.device)),
        rows,
        ceiling=ceilings,
        removals=removals,
        bench=bench.key,
        trainings=len(answers),
    )


class Judge:
    """The answers of the trainings on halves, and what each variant's scores predict of them."""

    def __init__(
        self,
        bench: Bench,
        halves: Sequence[Training],
        answers: Sequence[Answers],
        found: dict[Variant, BenchScores],
        clips: Sequence[int],
    ) -> None:
        """`answers`: of the halves; `clips`: those that were scored."""
        self.found, self.default = found, Variant(bench.config.methods.default)
        copies = np.array([track.training_weight for track in bench.tracks])
        rows = [one.rows for one in halves]
        self.predictions = {v: predict_answers(one.scores, rows, copies) for v, one in found.items()}  # [M, Q] each
        # higher = better known: a model's answer is minus its loss
        self.answers = {kind: -np.array([own[kind] for own in answers])[:, list(clips)] for kind in LOSSES}

    def compare(
        self, truth: str, variants: Sequence[Variant], part: slice = slice(None), label: str = "all"
    ) -> list[Row]:
        """A row for each variant, under equal resamples; differences to the default method where it was scored."""
        answers = self.answers[truth][part]
        base = [self.default] if self.default in self.predictions else []
        own = [self.predictions[variant][part] for variant in [*base, *variants]]
        if not own or len(answers) < 4:
            return []
        means, rows = bootstrap_lds(answers, own), []
        values = [float(compute_lds(answers, one).mean()) for one in own]
        for place, variant in enumerate(variants, len(base)):
            low, high = find_interval(means[:, place])
            row: Row = {"method": variant.method, "setting": variant.setting, "value": variant.value, "truth": truth}
            row |= {"trainings": label, "lds": values[place], "low": low, "high": high}
            if base and variant != self.default:
                row["difference"] = values[place] - values[0]
                row["difference_low"], row["difference_high"] = find_interval(means[:, place] - means[:, 0])
            one = self.found[variant]
            rows.append({**row, "reliability": one.reliability, "seconds": one.seconds})
        return rows

    def choose_settings(self, truth: str) -> list[Row]:
        """For each method and swept setting: all values on the even halves, and the best of these on the odd ones."""
        rows = []
        kinds = dict.fromkeys((v.method, v.setting) for v in self.found if v.setting in ("t_low", "damping"))
        for method, setting in kinds:
            variants = [v for v in self.found if (v.method, v.setting) == (method, setting)]
            even = self.compare(truth, variants, slice(0, None, 2), "even")
            if even:
                best = variants[int(np.argmax([row["lds"] for row in even]))]
                rows += [*even, *self.compare(truth, [best], slice(1, None, 2), "odd, chosen on even")]
        return rows


def measure_ceilings(trainings: Sequence[Training], answers: dict[str, Answers]) -> list[Row]:
    """How far two seeds agree on the same halves, for each truth; none where fewer than four are repeated."""
    again = [one.name for one in trainings if f"{one.name}-again" in answers and one.name in answers]
    rows = []
    for truth in LOSSES if len(again) >= 4 else ():
        one, other = (-np.array([answers[f"{name}{suffix}"][truth] for name in again]) for suffix in ("", "-again"))
        value, low, high = measure_ceiling(one, other)
        row = {"truth": truth, "halves": len(again), "correlation": value, "low": low, "high": high}
        rows.append({**row, "attainable_lds": float(np.sqrt(max(0.0, value)))})
    return rows


def judge_removals(answers: dict[str, Answers]) -> list[Row]:
    """What leaving a clip's first works out did to it, by method, against random works; none before any is trained.

    A row for each measure and method: mean over clips of the change from the full model, with its interval, and that of
    its difference to random works of the same collections, paired by clip. First the floor: full models of other seeds.
    """
    full, rows = answers.get(FULL), []
    removed = [name.removeprefix("without-").rsplit("-", 1) for name in answers if name.startswith("without-")]
    methods = list(dict.fromkeys(method for method, _ in removed))
    clips = sorted({int(clip) for method, clip in removed if method == RANDOM})
    if full is None or not clips:
        return []
    for measure in ("whole_masked", "noisy_masked", *REGENERATED):
        if measure not in full:
            continue
        start = np.array(full[measure])[clips] if measure in LOSSES else np.zeros(len(clips))
        others = [own for name, own in answers.items() if name.startswith("full-") and name != FULL]
        if others:
            floor = np.mean([np.array(own[measure])[clips] - start for own in others], 0)
            rows.append(_make_removal_row(measure, "another seed", floor, None))
        names = {m: [f"without-{m}-{clip:02d}" for clip in clips] for m in methods}
        done = {m: all(name in answers for name in own) for m, own in names.items()}
        change = {
            m: np.array([answers[n][measure][clip] for n, clip in zip(names[m], clips, strict=True)]) - start
            for m in methods
            if done[m]
        }
        for method, values in change.items():
            rows.append(_make_removal_row(measure, method, values, change.get(RANDOM)))
    return rows


def _make_removal_row(measure: str, method: str, values: np.ndarray, random: np.ndarray | None) -> Row:
    low, high = bootstrap_interval(values)
    row: Row = {"measure": measure, "method": method, "clips": len(values), "change": float(values.mean())}
    row |= {"low": low, "high": high}
    if random is not None and method != RANDOM:
        row["beyond_random"] = float((values - random).mean())
        row["beyond_low"], row["beyond_high"] = bootstrap_interval(values - random)
        row["clips_beyond"] = int((values > random).sum() if measure != "clap_similarity" else (values < random).sum())
    return row


def draw_lds(rows: Sequence[Row], ceilings: Sequence[Row], path: Path) -> None:
    """Draw the methods' LDS with intervals, strongest first, and the attainable LDS as a line."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        print("  no picture: matplotlib is not installed (pip install 'whence[dev]')", flush=True)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    truth = TRUTHS[0]
    shown = [row for row in rows if row["truth"] == truth and not row["setting"]]
    shown.sort(key=lambda row: row["lds"])
    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.32 * len(shown)))
    places = range(len(shown))
    values = np.array([row["lds"] for row in shown])
    spans = np.abs(np.array([[row["low"], row["high"]] for row in shown]).T - values)
    axes.errorbar(values, places, xerr=spans, fmt="o", color="#2b6cb0", ecolor="#90cdf4", elinewidth=3)
    axes.axvline(0, color="#a0aec0", linewidth=1)
    for row in ceilings:
        if row["truth"] == truth:
            axes.axvline(row["attainable_lds"], color="#c05621", linestyle="--", linewidth=1.5)
            axes.annotate("attainable", (row["attainable_lds"], 0), color="#c05621", fontsize=8, ha="right")
    axes.set_yticks(list(places), [row["method"] for row in shown])
    axes.set_xlabel("LDS: rank correlation of predicted and retrained loss, mean over clips, 95 % interval")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", dpi=90)
    pyplot.close(figure)
