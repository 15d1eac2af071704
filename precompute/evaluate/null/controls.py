"""Negative controls: what methods say where there is nothing to find, told as it comes out.

random weights: the shown clips against a transformer that has learnt nothing. roles swapped: two short trainings from
scratch, alike but for what they are trained on: the tracks, or the decoys. caption: every track scored under the
clip's caption in place of its own. AUC is always the probability that a *track of the manifest* stands above a decoy.

All controls look at as many regular training tracks as regular decoys; planted tracks, which have no decoys, are left
out. Scores are taken with the reduced settings of `[diagnostics]`.
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
from precompute.config.run import RunConfig
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.cost.evaluation import Pace, tell
from precompute.errors import UserError
from precompute.evaluate.null.alterations import (
    choose_matched_rows,
    make_fresh_model,
    make_trainable,
    recaption,
    swap_role,
    train_from_scratch,
)
from precompute.evaluate.ranking import average_wins, bootstrap_two_way_interval
from precompute.evaluate.scoring import (
    OTHER_WEIGHTS,
    Judged,
    check_method_names,
    follows_training,
    looks_at_gradients,
    make_scoring_context,
    normalise_scores,
    restrict_config,
    run_named_methods,
)
from precompute.gradients.curvature import kept_fisher
from precompute.gradients.finite_difference import spearman
from precompute.model.diffusion import Items, Model, load_model
from precompute.significance.diagnostics import compute_auc, measure_decoy_share
from precompute.significance.verdicts import calibrate_scores, fit_normalisation, mask_tracks
from precompute.train.diffusion import DiffusionLoss
from precompute.train.loop import LoopSettings, measure_step_s

LEARNING_RATE, MUON_RATE, BATCH = 8e-4, 0.02, 12  # of the two short trainings: the demo model's
WARMUP_STEPS = 200
OPPOSITE = "opposite sides of 0.5"
TOP = 10  # tracks among which decoys are counted
COLUMNS = ("method", "control", "case", "score", "name", "value", "low", "high", "wanted")


@dataclass(frozen=True)
class NullSettings:
    """How much is looked at."""

    swap_steps: int = 800  # of each short training; 0 = leave it out
    captions: int = 2  # clips under whose caption all tracks are scored; 0 = leave it out
    tracks: int = 0  # regular training tracks, and as many decoys, at most; 0 = all
    clips: int = 0  # shown clips, at most; 0 = all of the run
    seed: int = 0
    bf16: bool = True  # autocast in training

    def __post_init__(self) -> None:
        if min(self.swap_steps, self.captions, self.tracks, self.clips) < 0:
            raise UserError("evaluate null: swap-steps, captions, tracks and clips must be 0 or more")

    def loop(self) -> LoopSettings:
        """Of each short training: the demo's own optimiser."""
        return LoopSettings(
            steps=self.swap_steps,
            learning_rate=LEARNING_RATE,
            muon_rate=MUON_RATE,
            batch=BATCH,
            warmup_steps=min(WARMUP_STEPS, self.swap_steps // 4),
            bf16=self.bf16,
            seed=self.seed,
        )


def evaluate_null(
    config: RunConfig, out: Path, methods: Sequence[str] = ("unlearning",), settings: NullSettings | None = None
) -> dict[str, Any]:
    """Tell the cost, run the three controls, print a table, write JSON to `out`; what was written. Resumable.

    Raises UserError for an unknown method, one that looks at checkpoints of the training (no control's weights have
    any), without decoys (there is nothing to tell tracks from), and without prompts.
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
        raise UserError(
            "evaluate null: [clips] names no prompts, and without generate_clips clips no control can be made"
        )
    cache = Cache(Path(config.output.work) / "cache")
    items, key = load_latents(model, corpus, config, cache)
    chosen = choose_matched_rows(corpus.tracks, settings.tracks)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    run = ControlInputs(
        names=names,
        config=restrict_config(config.diagnostics.reduced(config), names, len(chosen) // 2, other_weights=True),
        cache=cache,
        model=model,
        tracks=[corpus.tracks[row] for row in chosen],
        items=items[chosen],
        prompts=[prompts[row] for row in spread_evenly(len(prompts), settings.clips)],
    )
    _tell_cost(run, settings)
    clips = generate_clips(model, run.prompts, run.config, cache, "clips")
    usual = load_cohort(model, corpus, config, cache)
    cohort = usual[spread_evenly(len(usual), run.config.clips.cohort)]
    rows, skipped = control_random_weights(run, clips, cohort, settings.seed)
    if settings.swap_steps:
        rows += control_swapped_roles(run, settings.loop(), Path(config.output.work) / "null")
    if settings.captions:
        fisher = kept_fisher(model, items[trained], config, cache, key) if looks_at_gradients(run.config) else None
        rows += control_captions(run, clips, cohort, settings.captions, fisher)
    print(format_table(rows, COLUMNS), flush=True)
    return write_result(
        out,
        f"negative controls of {', '.join(names)}: {len(run.prompts)} clips, {len(chosen) // 2} tracks, as many decoys",
        "python -m precompute evaluate null",
        describe_hardware(str(model.device)),
        rows,
        settings={
            **vars(settings),
            "bank": vars(run.config.bank),
            "cohort": len(cohort),
            "training": vars(settings.loop()),
        },
        model_sha256=model.sha256,
        skipped=[{"method": name, "reason": reason} for name, reason in skipped.items()],
    )


@dataclass(frozen=True)
class ControlInputs:
    """What the controls share."""

    names: tuple[str, ...]
    config: RunConfig  # with the reduced settings
    cache: Cache
    model: Model
    tracks: Sequence[Track]  # as many decoys as training tracks
    items: Items  # [N], of `tracks`
    prompts: list[Prompt]  # of the shown clips
    recordings: dict[Any, Any] = field(default_factory=dict)  # what methods that listen know already

    @property
    def trained(self) -> list[int]:
        """ControlRows of the training tracks."""
        return [row for row, track in enumerate(self.tracks) if not track.is_decoy]

    def score(
        self,
        model: Model,
        clips: Items,
        cohort: Items,
        items: Items | None = None,
        tracks: Sequence[Track] | None = None,
        fisher: torch.Tensor | None = None,
    ) -> Judged:
        """By all methods; without `items` or `tracks`: the run's own."""
        own = self.items if items is None else items
        played = tracks or self.tracks
        context = make_scoring_context(
            model, played, own, clips, cohort, self.config, self.cache, fisher, self.recordings
        )
        return run_named_methods(context, self.names)


def _tell_cost(run: ControlInputs, settings: NullSettings) -> None:
    """Of each control, before it begins: one gradient and one step of training are measured."""
    pace, config = Pace.measure(run.model, run.items, run.config), run.config
    clips, tracks, trained = len(run.prompts), len(run.tracks), len(run.trained)
    parts = [("clips and cohort", pace.generating(config, clips + config.clips.cohort))]
    parts.append(("random weights", pace.scoring(config, clips, tracks, trained)))
    if settings.swap_steps:
        network = make_fresh_model(run.model, settings.seed)
        loss = DiffusionLoss(make_trainable(network), network, run.items[run.trained], BATCH)
        steps = 2 * settings.swap_steps * measure_step_s(network.network, loss, settings.loop())
        both = pace.generating(config, clips + config.clips.cohort) + pace.scoring(config, clips, tracks, trained)
        parts.append((f"roles swapped: two trainings of {settings.swap_steps} steps", steps))
        parts.append(("roles swapped: clips and scores of both", 2 * both))
    if settings.captions:
        passes = pace.scoring(config, settings.captions, tracks)
        passes += settings.captions * pace.scoring(config, 1, tracks)
        parts.append((f"caption: {settings.captions + 1} passes", passes))
    tell(parts)


# -- the controls ------------------------------------------------------------------------------------------------


def control_random_weights(
    run: ControlInputs, clips: Items, cohort: Items, seed: int
) -> tuple[list[Row], dict[str, str]]:
    """The trained model's clips, cohort and latents against a transformer as it is before any training.

    The same pipeline, Fisher included. stable-audio-tools starts the branches' output layers at zero, so most weights
    have no gradient here: that is what an untrained model is. Also the methods that were left out, with the reason.
    """
    print("control: random weights", flush=True)
    judged = run.score(make_fresh_model(run.model, seed), clips, cohort)
    masks = mask_tracks(run.tracks)
    meaning = "share of clips with no training track above noise"
    rows = []
    for name, one in judged.done.items():
        found = calibrate_scores(one.result.cells, fit_normalisation(one.result.cohort, masks), masks)
        row = ControlRows(name, "random weights", run.tracks)
        silent = compute_silent_share(found.above_noise, masks.trained)
        rows.append(row.one("", "", "nothing_above_noise", silent, ">= 0.95", meaning))
        for kind, values in (("raw", found.score), ("normalised", found.score_norm)):
            rows += row.separation("", kind, values, wanted="0.5")
    return rows, judged.skipped


def control_swapped_roles(run: ControlInputs, settings: LoopSettings, folder: Path) -> list[Row]:
    """Two trainings alike but for the data: the training tracks, or the decoys in their place.

    Same fresh weights, steps, seeds and number of tracks. Each makes its own shown clips and cohort (captions of what
    it was trained on).
    """
    is_train, is_decoy, _ = mask_tracks(run.tracks)
    rows: list[Row] = []
    won: dict[tuple[str, str, str], np.ndarray] = {}
    for case, played in (("tracks", run.tracks), ("decoys", [swap_role(track) for track in run.tracks])):
        print(f"control: roles swapped, trained on {case}", flush=True)
        taught = run.items[[row for row, track in enumerate(played) if not track.is_decoy]]
        model = train_from_scratch(run.model, taught, settings, folder, case)
        clips = generate_clips(model, run.prompts, run.config, run.cache, "clips")
        longest = model.sample_size / model.sample_rate
        usual = choose_cohort_prompts(played, run.prompts, run.config.clips.cohort, longest)
        cohort = generate_clips(model, usual, run.config, run.cache, "cohort clips")
        for name, one in run.score(model, clips, cohort, tracks=played).done.items():
            row = ControlRows(name, "roles swapped", run.tracks)
            for kind, values in normalise_scores(one.result, played).items():
                rows += row.separation(f"trained on {case}", kind, values, OPPOSITE)
                won[name, case, kind] = average_wins(values, is_train, is_decoy)
    for name, kind in dict.fromkeys((name, kind) for name, _, kind in won):
        of_tracks, of_decoys = won[name, "tracks", kind], won[name, "decoys", kind]
        change, turned = of_tracks - of_decoys, is_reversed(of_tracks.mean(), of_decoys.mean())
        row = ControlRows(name, "roles swapped", run.tracks)
        meaning = "AUC of the training on tracks minus that on decoys"
        interval = bootstrap_two_way_interval(change)
        rows.append(row.one("both", kind, "auc_difference", change.mean(), "not 0", meaning, interval))
        rows.append(row.one("both", kind, "reverses", turned, "1", "1 = AUCs on opposite sides of 0.5"))
    return rows


def control_captions(
    run: ControlInputs, clips: Items, cohort: Items, count: int, fisher: torch.Tensor | None
) -> list[Row]:
    """All tracks under the caption of a clip, beside the ordinary ranking of the same draws; `count` clips, spread.

    Raw scores are the plain comparison. For the normalised ones a track's usual score is taken under the clip's
    caption too, so that both sides of the comparison are normalised alike. A pass over the tracks for each caption and
    one for the ordinary ranking; `fisher` [P]: the trained model's, as in its run;
    None where no method looks at gradients.
    """
    print("control: every track under the clip's caption", flush=True)
    chosen, (is_train, _, _) = clips[spread_evenly(len(clips), count)], mask_tracks(run.tracks)
    own = run.score(run.model, chosen, cohort, fisher=fisher).done
    changed: dict[tuple[str, str], list[np.ndarray]] = {}  # clip q under the caption of clip q, [N] each
    for q in range(len(chosen)):
        there = run.score(run.model, chosen[[q]], cohort, recaption(run.items, chosen, q), fisher=fisher)
        for name, one in there.done.items():
            for kind, values in normalise_scores(one.result, run.tracks).items():
                changed.setdefault((name, kind), []).append(values[0])
    rows = []
    meaning = "Spearman correlation over training tracks of the ranking with the ordinary one, mean over clips"
    for (name, kind), found in changed.items():
        ordinary, other = normalise_scores(own[name].result, run.tracks)[kind], np.stack(found)
        row = ControlRows(name, "caption", run.tracks)
        kept = [spearman(*pair) for pair in zip(ordinary[:, is_train], other[:, is_train], strict=True)]
        rows.append(row.one("the clip's", kind, "correlation_with_ordinary", float(np.mean(kept)), "", meaning))
        for case, values in (("own", ordinary), ("the clip's", other)):
            rows += row.separation(case, kind, values, wanted="")
    return rows


# -- rows of the report ----------------------------------------------------------------------------------------


def compute_silent_share(above: np.ndarray, trained: np.ndarray) -> float:
    """Share of clips in which no training track is above noise; bool [Q, N], bool [N]."""
    return float((~above[:, trained].any(1)).mean())


def is_reversed(one: float, other: float) -> bool:
    """Whether two AUCs lie on opposite sides of chance."""
    return (one - 0.5) * (other - 0.5) < 0


@dataclass(frozen=True)
class ControlRows:
    """ControlRows of one method in one control."""

    method: str
    control: str
    tracks: Sequence[Track]  # [N]

    def separation(self, case: str, kind: str, scores: np.ndarray, wanted: str) -> list[Row]:
        """AUC with an interval over tracks and decoys, then decoys in the top 10, of scores [Q, N]."""
        is_train, is_decoy, _ = mask_tracks(self.tracks)
        area = compute_auc(scores, is_train, is_decoy)
        interval = bootstrap_two_way_interval(average_wins(scores, is_train, is_decoy))
        share = measure_decoy_share(scores, is_train, is_decoy, TOP)
        chance = float(is_decoy.sum() / (is_train.sum() + is_decoy.sum()))
        meaning = f"share of decoys in the top 10; by chance {chance:.2f}"
        return [
            self.one(case, kind, "auc", area, wanted, "probability that a track outranks a decoy", interval),
            self.one(case, kind, "decoys_top10", share, "", meaning),
        ]

    def one(
        self,
        case: str,
        score: str,
        name: str,
        value: float,
        wanted: str,
        meaning: str,
        interval: tuple[float, float] | None = None,
    ) -> Row:
        row: Row = {"method": self.method, "control": self.control, "case": case, "score": score, "name": name}
        row["value"] = float(value)
        if interval is not None:
            row |= {"low": interval[0], "high": interval[1]}
        return {**row, "wanted": wanted, "meaning": meaning}
