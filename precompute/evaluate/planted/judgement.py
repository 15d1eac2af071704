"""Methods judged by planted truths: weighted tracks against their twins, a rare style, exemplars.

All methods share one pass over the tracks' gradients. Beside them stand CLAP's similarity (a listener's guess: it knows
the sound and not the model) and the expectation of a random ranking. Every score is reported raw, and normalised over
the run's cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from precompute.clips.generation import load_cohort
from precompute.clips.prompts import Prompt, read_prompts
from precompute.common.cache import Cache
from precompute.common.results import Row, describe_hardware, format_table, write_result
from precompute.common.seeds import PLANTED
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.cost.evaluation import EvaluationPace, print_estimate
from precompute.errors import UserError
from precompute.evaluate.planted import truths
from precompute.evaluate.planted.scorer import RIVALS, PlantedScorer, reduce_config
from precompute.evaluate.scoring import check_method_names, looks_at_gradients, restrict_config
from precompute.exemplars.files import ExemplarUpdate, load_exemplars
from precompute.gradients.context import make_noise_bank
from precompute.gradients.fisher import load_fisher
from precompute.methods.catalogue import build_method
from precompute.model.diffusion import Items, Model, load_model
from precompute.train.diffusion import measure_mean_loss

COLUMNS = ("truth", "method", "score", "name", "value", "low", "high")
REUSED = "the preconditioner is that of the untuned weights"


@dataclass(frozen=True)
class PlantedSettings:
    """Numbers of clips and decoys, and the methods that exemplars judge; it checks itself."""

    seeds: int = 4  # clips a caption
    exemplar_clips: int = 2  # of each exemplar
    decoys: int = 0  # that enter the normalisation, spread evenly; 0 = all of the run
    replicates: int = 0  # of the noise bank; 0 = the run's
    exemplar_methods: tuple[str, ...] = ()  # judged by exemplars too, in two passes of their own; none = all

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.exemplar_clips < 1:
            raise UserError("evaluate planted: seeds and exemplar clips must be at least 1")
        if self.decoys < 0:
            raise UserError(f"evaluate planted: decoys = {self.decoys}: must be 0 (all) or more")
        if self.replicates and self.replicates < 2:
            raise UserError(f"evaluate planted: replicates = {self.replicates}: must be 0 (the run's) or at least 2")
        if self.exemplar_methods:
            check_method_names(self.exemplar_methods, "--exemplar-method")


@dataclass(frozen=True)
class PlantedInputs:
    """A run's tracks, their decoys thinned, and the truths that are planted among them."""

    corpus: Corpus
    items: Items  # [N], of the corpus's tracks
    key: str  # names the latents of the whole run by content
    tuning: ExemplarUpdate | None  # by which exemplars are judged; None = no exemplars
    unheard: list[Track]  # of the rare style, never heard by the model; none of the corpus's tracks

    @property
    def trained(self) -> list[int]:
        """Rows of the training tracks."""
        return [row for row, track in enumerate(self.corpus.tracks) if not track.is_decoy]

    @property
    def pairs(self) -> list[truths.TwinPair]:
        """Weighted tracks and their twins."""
        return truths.find_pairs(self.corpus.tracks)

    @property
    def rare(self) -> np.ndarray:
        """Training tracks of the rare style, bool [N]."""
        return truths.find_rare(self.corpus.tracks)


def evaluate_planted(
    config: RunConfig,
    out: Path,
    methods: Sequence[str] = ("unlearning",),
    exemplars: Path | None = None,
    settings: PlantedSettings | None = None,
    unheard: Path | None = None,
) -> dict[str, Any]:
    """Judge methods of the catalogue, print a table and write JSON to `out`; returns what was written.

    weighted: share of (pair, seed) in which the weighted track is above its twin, for `seeds` clips of their caption.
    rare: how many rare tracks stand among the 10 best training tracks of a clip of their caption; success = at least 3
    in all seeds but one. `unheard` (a manifest) names tracks of the same style and caption that the model never heard:
    only where the heard ones stand above those is it more than the caption. exemplars (a file of `make_exemplars`):
    rank of each exemplar among all training tracks and itself, for clips of the tuned weights, beside its rank before
    the tuning; scores are of the weights in use, with a smaller bank and cohort, but under the preconditioner of the
    untuned weights: a Fisher pass costs minutes, and the weights hardly move. Methods that one of these cannot judge
    are skipped there; the result holds why. A killed run goes on where it was.

    Raises UserError for an unknown method, or where none can be judged; where the corpus has none of these cases;
    where the exemplars are of other weights, or an unheard track is none.
    """
    settings, names = settings or PlantedSettings(), check_method_names(methods)
    if settings.replicates:
        config = replace(config, bank=replace(config.bank, replicates=settings.replicates))
    cache = Cache(Path(config.output.work) / "cache")
    model = load_model(config)
    if model.clap is not None:
        names = tuple(dict.fromkeys([*names, "clap"]))
    inputs = _load_inputs(model, config, cache, settings, exemplars, unheard)
    tracks, trained = inputs.corpus.tracks, inputs.trained
    config = restrict_config(config, names, len(trained))
    prompts = _make_prompts(inputs, settings.seeds, config, model.sample_size / model.sample_rate)
    _print_cost(model, inputs, config, len(prompts), settings)
    fisher = None
    if looks_at_gradients(config):
        fisher = load_fisher(model, inputs.items[trained], config, cache, inputs.key)
    cohort = load_cohort(model, inputs.corpus, config, cache)
    scorer = PlantedScorer(config, cache, model, names, fisher, cohort, settings.exemplar_methods)
    rows: list[Row] = []
    cases: dict[str, list[Row]] = {}
    if prompts:
        rows = _judge_corpus(scorer, inputs, prompts, settings.seeds, cases)
    cases["exemplars"] = scorer.rank_exemplars(
        inputs.tuning, settings.exemplar_clips, inputs.items, inputs.corpus, trained
    )
    if cases["exemplars"]:
        rows += truths.judge_exemplars(cases["exemplars"], len(trained) + 1)
    print(format_table(rows, COLUMNS), flush=True)
    return write_result(
        out,
        f"planted truths: {', '.join(names)}; exemplars: {REUSED}",
        "python -m precompute evaluate planted",
        describe_hardware(str(model.device)),
        rows,
        settings={
            "methods": {name: build_method(name, config, len(trained)).describe_settings() for name in names},
            "bank": vars(config.bank),
            "bank_of_exemplars": vars(reduce_config(config).bank),
            **vars(settings),
            "cohort": len(cohort),
            "decoys": len(tracks) - len(trained),
            "unheard": len(inputs.unheard),
            "rivals": RIVALS,
        },
        model_sha256=model.sha256,
        cases=cases,
        skipped=scorer.skipped,
    )


def _load_inputs(
    model: Model,
    config: RunConfig,
    cache: Cache,
    settings: PlantedSettings,
    exemplars: Path | None,
    unheard: Path | None,
) -> PlantedInputs:
    """Read and check everything that a judgement needs before the long pass. Raises UserError."""
    corpus = load_corpus(config)
    pairs, rare = truths.find_pairs(corpus.tracks), truths.find_rare(corpus.tracks)
    tuning = load_exemplars(exemplars, model) if exemplars else None
    if not pairs and not rare.any() and tuning is None:
        raise UserError("evaluate planted: the corpus has no weighted and no rare tracks, and there are no exemplars")
    apart = truths.read_unheard(unheard, corpus.tracks) if unheard and rare.any() else []
    items, key = load_latents(model, corpus, config, cache)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    decoys = [row for row, track in enumerate(corpus.tracks) if track.is_decoy]
    rows = sorted([*trained, *(decoys[i] for i in spread_evenly(len(decoys), settings.decoys))])
    return PlantedInputs(Corpus([corpus.tracks[row] for row in rows], corpus.root), items[rows], key, tuning, apart)


def _judge_corpus(
    scorer: PlantedScorer, inputs: PlantedInputs, prompts: list[Prompt], seeds: int, cases: dict[str, list[Row]]
) -> list[Row]:
    """Rows of weighted tracks and of the rare style, `seeds` prompts each; single pairs go to cases["weighted"]."""
    tracks, items, pairs, rare, trained = inputs.corpus.tracks, inputs.items, inputs.pairs, inputs.rare, inputs.trained
    scores = scorer.score_prompts(prompts, items, tracks)
    of_pairs = truths.select_clips(scores, slice(len(pairs) * seeds))
    of_rare = truths.select_clips(scores, slice(len(pairs) * seeds, None))
    rows: list[Row] = []
    if pairs:
        bank = make_noise_bank(scorer.config.bank)
        losses = np.array(
            [[measure_mean_loss(scorer.model, items[[row]], bank) for row in (p.weighted, p.twin)] for p in pairs]
        )
        rows += [*truths.judge_losses(losses), *truths.judge_weighted(of_pairs, pairs, seeds)]
        cases["weighted"] = truths.list_weighted_cases(of_pairs, pairs, seeds, losses, tracks)
    if rare.any():
        rows += truths.judge_rare(truths.select_tracks(of_rare, np.array(trained)), rare[trained])
    if inputs.unheard:
        rows += _judge_unheard(scorer, inputs, prompts[-seeds:])
    return rows


def _judge_unheard(scorer: PlantedScorer, inputs: PlantedInputs, prompts: list[Prompt]) -> list[Row]:
    """Rows of heard rare tracks against unheard ones, from a pass in which all count as training tracks.

    Methods that look at the training tracks as a whole treat tracks outside of them otherwise, heard or not; here both
    are inside, so that only the weights can set one apart from the other.
    """
    trained, root = inputs.trained, inputs.corpus.root
    tracks = [inputs.corpus.tracks[row] for row in trained]
    tracks += [replace(track, split="train") for track in inputs.unheard]
    unheard, _ = load_latents(scorer.model, Corpus(inputs.unheard, root), scorer.config, scorer.cache)
    items = inputs.items[trained].join(unheard)
    is_unheard = np.arange(len(tracks)) >= len(trained)
    is_heard = truths.find_rare(tracks) & ~is_unheard
    bank, rare = make_noise_bank(scorer.config.bank), np.flatnonzero(is_heard | is_unheard)
    losses = np.array([measure_mean_loss(scorer.model, items[[row]], bank) for row in rare])
    print("rare tracks among pieces of their style that were never heard", flush=True)
    return truths.judge_unheard(scorer.score_prompts(prompts, items, tracks), is_heard, is_unheard, losses)


def _make_prompts(inputs: PlantedInputs, seeds: int, config: RunConfig, longest: float) -> list[Prompt]:
    """Clips to judge by: `seeds` of each pair's caption, then `seeds` of the rare tracks' most common one.

    Lengths in seconds, at most `longest`: the weighted track's, and that of the run's prompt with the rare caption
    (else the rare tracks' median).
    """
    tracks, rare = inputs.corpus.tracks, inputs.rare
    captions = [(tracks[p.weighted].caption, tracks[p.weighted].duration_s) for p in inputs.pairs]
    if rare.any():
        caption, median_s = truths.find_rare_caption(tracks, rare)
        lengths = [p.seconds for p in read_prompts(Path(config.clips.prompts)) if p.text == caption]
        captions.append((caption, lengths[0] if lengths else median_s))
    return [
        Prompt(0, caption, min(seconds, longest), PLANTED + k) for caption, seconds in captions for k in range(seeds)
    ]


def _print_cost(model: Model, inputs: PlantedInputs, config: RunConfig, clips: int, settings: PlantedSettings) -> None:
    """Print the seconds of each part before it begins."""
    pace = EvaluationPace.measure(model, inputs.items, config, looks_at_gradients(config))
    small = reduce_config(config)
    tracks, trained = len(inputs.items), len(inputs.trained)
    exemplars, unheard = len(inputs.tuning.exemplars) if inputs.tuning else 0, len(inputs.unheard)
    made = clips + config.clips.cohort
    parts = [
        ("clips of the planted captions, and the cohort", pace.estimate_generation(config, made)),
        (f"{clips} clips against {tracks} tracks and decoys", pace.estimate_scoring(config, clips, tracks, trained)),
    ]
    if unheard:
        again = pace.estimate_scoring(config, settings.seeds, trained + unheard, trained)
        text = f"{settings.seeds} clips of the rare style against {unheard} tracks that were never heard"
        parts.append((text, again))
    if exemplars:
        count = exemplars * settings.exemplar_clips
        one = pace.estimate_scoring(small, count, trained + exemplars * (1 + RIVALS))
        one += pace.estimate_generation(config, count)
        parts.append((f"{exemplars} exemplars, before and after the tuning", 2 * one))
    print_estimate(parts)
