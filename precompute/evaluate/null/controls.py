"""Negative controls: scores of methods where there is nothing to find, or where the answer must turn round.

random weights: the shown clips against a transformer that has learnt nothing. roles swapped: two short trainings from
scratch, equal except in what they are trained on: the tracks, or the decoys. caption: every track scored under the
clip's caption in place of its own. AUC is always the probability that a *track of the manifest* stands above a decoy.

The first control asks the test of above noise over the whole corpus; the others compare as many regular training tracks
with as many regular decoys, without planted tracks. All use the reduced settings of `[diagnostics]`. Rows have method,
control, case, score, name, value, low and high where there is an interval, the value wanted, and a meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.clips.generation import generate_clips, load_cohort
from precompute.clips.prompts import Prompt, choose_cohort_prompts, read_run_prompts
from precompute.common.cache import Cache
from precompute.common.results import Row, describe_hardware, format_table, write_result
from precompute.common.sequences import spread_evenly
from precompute.config.methods import follows_training
from precompute.config.run import RunConfig
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.cost.evaluation import EvaluationPace, print_estimate
from precompute.errors import UserError
from precompute.evaluate.calibration import compute_clopper_pearson
from precompute.evaluate.null.alterations import (
    choose_matched_rows,
    recaption,
    swap_role,
    train_from_scratch,
)
from precompute.evaluate.ranking import average_wins, bootstrap_two_way_interval
from precompute.evaluate.scoring import (
    OTHER_WEIGHTS,
    JudgedMethods,
    ScoringInputs,
    check_method_names,
    looks_at_gradients,
    make_scoring_context,
    normalise_scores,
    restrict_config,
    run_named_methods,
)
from precompute.gradients.finite_difference import correlate_ranks
from precompute.gradients.fisher import load_fisher
from precompute.model.diffusion import Items, Model, load_model
from precompute.significance.diagnostics import compute_auc, measure_decoy_share
from precompute.significance.match_bins import match_clips
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import ClipGroups, Verdicts, assign_roles, calibrate_scores
from precompute.train.diffusion import DiffusionLoss
from precompute.train.loop import LoopSettings, measure_step_s
from precompute.train.scratch import make_fresh_model, make_trainable

LEARNING_RATE, MUON_RATE, BATCH = 8e-4, 0.02, 12  # of the two short trainings: the demo model's
WARMUP_STEPS = 200
OPPOSITE = "opposite sides of 0.5"  # wanted of the AUCs of both trainings
TOP = 10  # tracks among which decoys are counted
COLUMNS = ("method", "control", "case", "score", "name", "value", "low", "high", "wanted")


@dataclass(frozen=True)
class NullSettings:
    """Numbers of clips, tracks and training steps of the controls; it checks itself."""

    swap_steps: int = 800  # of each short training; 0 = leave this control out
    captions: int = 2  # clips under whose caption all tracks are scored; 0 = leave this control out
    tracks: int = 0  # regular training tracks, and as many decoys, at most; 0 = all
    clips: int = 0  # shown clips, at most; 0 = all of the run
    seed: int = 0
    bf16: bool = True  # autocast in training

    def __post_init__(self) -> None:
        if min(self.swap_steps, self.captions, self.tracks, self.clips) < 0:
            raise UserError("evaluate null: swap-steps, captions, tracks and clips must be 0 or more")

    @property
    def training(self) -> LoopSettings:
        """Settings of each short training: the demo's own optimiser."""
        return LoopSettings(
            steps=self.swap_steps,
            learning_rate=LEARNING_RATE,
            muon_rate=MUON_RATE,
            batch=BATCH,
            warmup_steps=min(WARMUP_STEPS, self.swap_steps // 4),
            bf16=self.bf16,
            seed=self.seed,
        )


@dataclass(frozen=True)
class ControlInputs:
    """The inputs that all controls share."""

    names: tuple[str, ...]  # of the methods that are judged
    config: RunConfig  # with the reduced settings
    cache: Cache
    model: Model
    tracks: Sequence[Track]  # [N], as many decoys as training tracks
    items: Items  # [N], of `tracks`
    whole_items: Items  # of all tracks and decoys of the corpus
    prompts: list[Prompt]  # of the shown clips
    recordings: dict[Any, Any] = field(default_factory=dict)  # what methods that listen know already

    @property
    def trained(self) -> list[int]:
        """Rows of the training tracks."""
        return [row for row, track in enumerate(self.tracks) if not track.is_decoy]

    def score(
        self,
        model: Model,
        clips: Items,
        cohort: Items,
        items: Items | None = None,
        tracks: Sequence[Track] | None = None,
        fisher: torch.Tensor | None = None,
    ) -> JudgedMethods:
        """Score by all methods and `model`; the inputs' own `items` and `tracks` where none are given."""
        inputs = ScoringInputs(
            tracks=tracks or self.tracks,
            items=self.items if items is None else items,
            clips=clips,
            cohort=cohort,
            fisher=fisher,
        )
        context = make_scoring_context(model, inputs, self.config, self.cache, self.recordings)
        return run_named_methods(context, self.names)


def evaluate_null(
    config: RunConfig, out: Path, methods: Sequence[str] = ("unlearning",), settings: NullSettings | None = None
) -> dict[str, Any]:
    """Print the cost, run the three controls, print a table and write JSON to `out`; returns what was written.

    A killed run goes on where it was. Raises UserError for an unknown method or one that looks at checkpoints of the
    training (the controls' weights have none), without decoys (nothing to compare tracks with), and without prompts.
    """
    settings, names = settings or NullSettings(), check_method_names(methods)
    for name in names:
        if follows_training(name):
            raise UserError(f"evaluate null: {name} cannot be judged so: {OTHER_WEIGHTS}")
    corpus, model = load_corpus(config), load_model(config)
    if all(not track.is_decoy for track in corpus.tracks):
        raise UserError("evaluate null: the corpus has no decoys, and without them no control can be read")
    prompts = read_run_prompts(config)
    if not prompts:
        raise UserError("evaluate null: [clips] names no prompts, and without generated clips no control can be made")
    cache = Cache(Path(config.output.work) / "cache")
    items, key = load_latents(model, corpus, config, cache)
    chosen = choose_matched_rows(corpus.tracks, settings.tracks)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    inputs = ControlInputs(
        names=names,
        config=restrict_config(config.diagnostics.reduce(config), names, len(chosen) // 2, other_weights=True),
        cache=cache,
        model=model,
        tracks=[corpus.tracks[row] for row in chosen],
        items=items[chosen],
        whole_items=items,
        prompts=[prompts[row] for row in spread_evenly(len(prompts), settings.clips)],
    )
    _print_cost(inputs, settings)
    clips = generate_clips(model, inputs.prompts, inputs.config, cache, "clips")
    cohort = load_cohort(model, corpus, config, cache)
    cohort = cohort[spread_evenly(len(cohort), inputs.config.clips.cohort)]
    rows, skipped = judge_random_weights(inputs, clips, cohort, corpus, settings.seed)
    if settings.swap_steps:
        rows += judge_swapped_roles(inputs, settings.training, Path(config.output.work) / "null")
    if settings.captions:
        fisher = None
        if looks_at_gradients(inputs.config):
            fisher = load_fisher(model, items[trained], config, cache, key)
        rows += judge_captions(inputs, clips, cohort, settings.captions, fisher)
    print(format_table(rows, COLUMNS), flush=True)
    return write_result(
        out,
        f"negative controls of {', '.join(names)}: {len(clips)} clips, {len(chosen) // 2} tracks, as many decoys",
        "python -m precompute evaluate null",
        describe_hardware(str(model.device)),
        rows,
        settings={
            **vars(settings),
            "bank": vars(inputs.config.bank),
            "cohort": len(cohort),
            "training": vars(settings.training),
        },
        model_sha256=model.sha256,
        skipped=[{"method": name, "reason": reason} for name, reason in skipped.items()],
    )


def _print_cost(inputs: ControlInputs, settings: NullSettings) -> None:
    """Print the seconds of each control before it begins, from one gradient and one step of training measured here."""
    config = inputs.config
    pace = EvaluationPace.measure(inputs.model, inputs.items, config, looks_at_gradients(config))
    clips, tracks, trained = len(inputs.prompts), len(inputs.tracks), len(inputs.trained)
    every = len(inputs.whole_items)
    parts = [("clips and cohort", pace.estimate_generation(config, clips + config.clips.cohort))]
    parts.append(("trained and random weights", 2 * pace.estimate_scoring(config, clips, every, trained)))
    if settings.swap_steps:
        fresh = make_fresh_model(inputs.model, settings.seed)
        loss = DiffusionLoss(make_trainable(fresh), fresh, inputs.items[inputs.trained], BATCH)
        steps = 2 * settings.swap_steps * measure_step_s(fresh.network, loss, settings.training)
        both = pace.estimate_generation(config, clips + config.clips.cohort)
        both += pace.estimate_scoring(config, clips, tracks, trained)
        parts.append((f"roles swapped: two trainings of {settings.swap_steps} steps", steps))
        parts.append(("roles swapped: clips and scores of both", 2 * both))
    if settings.captions:
        passes = pace.estimate_scoring(config, settings.captions, tracks)
        passes += settings.captions * pace.estimate_scoring(config, 1, tracks)
        parts.append((f"caption: {settings.captions + 1} passes", passes))
    print_estimate(parts)


# -- the controls ------------------------------------------------------------------------------------------------------


def judge_random_weights(
    inputs: ControlInputs, clips: Items, cohort: Items, whole: Corpus, seed: int
) -> tuple[list[Row], dict[str, str]]:
    """Rows of the trained model's clips, cohort and latents scored by a transformer as it is before any training.

    All stages are as in a run, Fisher included, over the tracks of the whole corpus. Beside it the trained weights with
    the same draws: a test that never fires would be silent in both. stable-audio-tools starts the branches' output
    layers at zero, so that most weights have no gradient here: that is what an untrained model is. Second: skipped
    methods with their reason.
    """
    skipped: dict[str, str] = {}
    rows: list[Row] = []
    roles = assign_roles(whole.tracks)
    groups = ClipGroups(match_clips([*clips.prompts, *cohort.prompts], whole.tracks), len(clips))
    for case, model in (("trained weights", inputs.model), ("random weights", make_fresh_model(inputs.model, seed))):
        print(f"control: {case}", flush=True)
        judged = inputs.score(model, clips, cohort, inputs.whole_items, whole.tracks)
        skipped |= judged.skipped
        for name, one in judged.done.items():
            verdicts = calibrate_scores(one.result.cells, Normalisation.fit(one.result.cohort), roles, groups)
            table = ControlRows(name, "random weights", whole.tracks)
            rows += table.count_findings(case, verdicts)
            for kind, values in (("raw", verdicts.score), ("normalised", verdicts.score_norm)):
                rows += table.measure_separation(case, kind, values, wanted="0.5" if model is not inputs.model else "")
    return rows, skipped


def judge_swapped_roles(inputs: ControlInputs, settings: LoopSettings, folder: Path) -> list[Row]:
    """Rows of two trainings that differ in their data alone: the training tracks, or the decoys in their place.

    Fresh weights, steps, seeds and number of tracks are equal. Each model makes its own shown clips and cohort (under
    captions of what it was trained on). States of the trainings are kept in `folder`.
    """
    is_train, is_decoy = assign_roles(inputs.tracks)[:2]
    rows: list[Row] = []
    wins: dict[tuple[str, str, str], np.ndarray] = {}  # (method, case, kind) -> [tracks, decoys]
    for case, tracks in (("tracks", inputs.tracks), ("decoys", [swap_role(track) for track in inputs.tracks])):
        print(f"control: roles swapped, trained on {case}", flush=True)
        trained = inputs.items[[row for row, track in enumerate(tracks) if not track.is_decoy]]
        model = train_from_scratch(inputs.model, trained, settings, folder, case)
        clips = generate_clips(model, inputs.prompts, inputs.config, inputs.cache, "clips")
        longest = model.sample_size / model.sample_rate
        prompts = choose_cohort_prompts(tracks, inputs.prompts, inputs.config.clips.cohort, longest)
        cohort = generate_clips(model, prompts, inputs.config, inputs.cache, "cohort clips")
        for name, one in inputs.score(model, clips, cohort, tracks=tracks).done.items():
            table = ControlRows(name, "roles swapped", inputs.tracks)
            for kind, values in normalise_scores(one.result).items():
                rows += table.measure_separation(f"trained on {case}", kind, values, OPPOSITE)
                wins[name, case, kind] = average_wins(values, is_train, is_decoy)
    for name, kind in dict.fromkeys((name, kind) for name, _, kind in wins):
        of_tracks, of_decoys = wins[name, "tracks", kind], wins[name, "decoys", kind]
        change, reversed_ = of_tracks - of_decoys, is_reversed(of_tracks.mean(), of_decoys.mean())
        table = ControlRows(name, "roles swapped", inputs.tracks)
        meaning = "AUC of the training on tracks minus that on decoys"
        interval = bootstrap_two_way_interval(change)
        rows.append(table.make_row("both", kind, "auc_difference", change.mean(), "not 0", meaning, interval))
        rows.append(table.make_row("both", kind, "reverses", reversed_, "1", "1 = AUCs on opposite sides of 0.5"))
    return rows


def judge_captions(
    inputs: ControlInputs, clips: Items, cohort: Items, count: int, fisher: torch.Tensor | None
) -> list[Row]:
    """Rows of all tracks under the caption of a clip, beside their ordinary ranking; `count` clips, spread evenly.

    Both sides are scored under the same draws. Raw scores are the plain comparison. For the normalised ones the
    cohort's scores are taken under the clip's caption too, so that both sides are normalised alike. It takes a pass
    over the tracks for each caption and one for the ordinary ranking. `fisher` [P]: the trained model's, as in its run;
    None where no method looks at gradients.
    """
    print("control: every track under the clip's caption", flush=True)
    chosen, is_train = clips[spread_evenly(len(clips), count)], assign_roles(inputs.tracks).is_train
    ordinary = inputs.score(inputs.model, chosen, cohort, fisher=fisher).done
    changed: dict[tuple[str, str], list[np.ndarray]] = {}  # clip q under the caption of clip q, [N] each
    for q in range(len(chosen)):
        recaptioned = recaption(inputs.items, chosen, q)
        for name, one in inputs.score(inputs.model, chosen[[q]], cohort, recaptioned, fisher=fisher).done.items():
            for kind, values in normalise_scores(one.result).items():
                changed.setdefault((name, kind), []).append(values[0])
    rows = []
    meaning = "Spearman correlation over training tracks of the ranking with the ordinary one, mean over clips"
    for (name, kind), by_clip in changed.items():
        own, other = normalise_scores(ordinary[name].result)[kind], np.stack(by_clip)
        table = ControlRows(name, "caption", inputs.tracks)
        correlations = [correlate_ranks(*pair) for pair in zip(own[:, is_train], other[:, is_train], strict=True)]
        mean = float(np.mean(correlations))
        rows.append(table.make_row("the clip's", kind, "correlation_with_ordinary", mean, "", meaning))
        for case, values in (("own", own), ("the clip's", other)):
            rows += table.measure_separation(case, kind, values, wanted="")
    return rows


# -- rows of the report ------------------------------------------------------------------------------------------------


def is_reversed(one: float, other: float) -> bool:
    """True where two AUCs lie on opposite sides of chance."""
    return (one - 0.5) * (other - 0.5) < 0


@dataclass(frozen=True)
class ControlRows:
    """Makes the rows of one method in one control."""

    method: str
    control: str
    tracks: Sequence[Track]  # [N]

    def count_findings(self, case: str, verdicts: Verdicts) -> list[Row]:
        """Share of clips with a track above noise, and of those in which one could have been found."""
        able = np.zeros(len(verdicts.score), bool)
        for record in verdicts.bins:
            able[record.clip] |= record.can_tell
        found = verdicts.above_noise.any(1)
        interval = compute_clopper_pearson(int(found.sum()), len(found))
        wanted = "<= 0.10" if case == "random weights" else "above random weights'"
        meaning = "share of clips with a training track above noise"
        return [
            self.make_row(case, "", "clips_with_finding", float(found.mean()), wanted, meaning, interval),
            self.make_row(case, "", "could_fire", float(able.mean()), "", "share of clips in which one could be found"),
        ]

    def measure_separation(self, case: str, kind: str, scores: np.ndarray, wanted: str) -> list[Row]:
        """AUC with an interval over tracks and decoys, then the share of decoys in the top 10, of scores [Q, N]."""
        is_train, is_decoy = assign_roles(self.tracks)[:2]
        area = compute_auc(scores, is_train, is_decoy)
        interval = bootstrap_two_way_interval(average_wins(scores, is_train, is_decoy))
        share = measure_decoy_share(scores, is_train, is_decoy, TOP)
        chance = float(is_decoy.sum() / (is_train.sum() + is_decoy.sum()))
        meaning = f"share of decoys in the top 10; by chance {chance:.2f}"
        return [
            self.make_row(case, kind, "auc", area, wanted, "probability that a track outranks a decoy", interval),
            self.make_row(case, kind, "decoys_top10", share, "", meaning),
        ]

    def make_row(
        self,
        case: str,
        score: str,
        name: str,
        value: float,
        wanted: str,
        meaning: str,
        interval: tuple[float, float] | None = None,
    ) -> Row:
        """One value with its interval, what is wanted of it, and its meaning."""
        row: Row = {"method": self.method, "control": self.control, "case": case, "score": score, "name": name}
        row["value"] = float(value)
        if interval is not None:
            row |= {"low": interval[0], "high": interval[1]}
        return {**row, "wanted": wanted, "meaning": meaning}
