"""Methods judged by known truths: weighted tracks against their twins, a rare style, exemplars.

All methods share one pass over the tracks' gradients. Beside them stand CLAP's similarity (a listener's guess: it knows
the sound and not the model) and the expectation of a random ranking. Every score is told raw and normalised over the
run's cohort.
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
from precompute.cost.evaluation import Pace, tell
from precompute.errors import UserError
from precompute.evaluate.planted import truths
from precompute.evaluate.planted.scorer import RIVALS, PlantedScorer, reduce_config
from precompute.evaluate.scoring import check_method_names, looks_at_gradients, restrict_config
from precompute.gradients.curvature import kept_fisher
from precompute.gradients.track_pass import noise_bank
from precompute.methods.catalogue import build
from precompute.model.diffusion import Items, Model, load_model
from precompute.train import exemplars as made
from precompute.train.diffusion import measure_mean_loss

COLUMNS = ("truth", "method", "score", "name", "value", "low", "high")
REUSED = "the preconditioner is that of the untuned weights"


@dataclass(frozen=True)
class PlantedSettings:
    """How much is judged."""

    seeds: int = 4  # clips a caption
    exemplar_clips: int = 2
    decoys: int = 0  # that enter the normalisation, spread evenly; 0 = all of the run
    replicates: int = 0  # of the noise bank; 0 = the run's
    exemplar_methods: tuple[str, ...] = ()  # judged by exemplars too, each of which is a pass of its own; none = all

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.exemplar_clips < 1:
            raise UserError("evaluate planted: seeds and exemplar clips must be at least 1")
        if self.decoys < 0:
            raise UserError(f"evaluate planted: decoys = {self.decoys}: must be 0 (all) or more")
        if self.replicates and self.replicates < 2:
            raise UserError(f"evaluate planted: replicates = {self.replicates}: must be 0 (the run's) or at least 2")
        if self.exemplar_methods:
            check_method_names(self.exemplar_methods, "--exemplar-method")


def evaluate_planted(
    config: RunConfig,
    out: Path,
    methods: Sequence[str] = ("unlearning",),
    exemplars: Path | None = None,
    settings: PlantedSettings | None = None,
    unheard: Path | None = None,
) -> dict[str, Any]:
    """PlantedScorer methods of the catalogue, print a table, write JSON to `out`; what was written. Resumable.

    weighted: share of (pair, seed) in which the weighted track is above its twin, for `seeds` clips of their caption.
    rare: how many rare tracks stand among the 10 best training tracks of a clip of their caption; success = at least 3
    in all seeds but one. `unheard` (a manifest) names tracks of the same style and caption that the model never heard:
    only where the heard ones stand above those is it more than the caption. exemplars (a folder of `make_exemplars`):
    rank of the exemplar among all training tracks and itself, for clips of the tuned weights, beside its rank before
    the tuning; scores are of the weights in use, with a smaller bank and cohort, but under the preconditioner of the
    untuned ones: a Fisher pass costs minutes, and the weights hardly move. A method that cannot be judged by one of
    these is left out of it with its reason. Raises UserError for an unknown method, or none that can be judged; where
    the corpus has none of these cases; where an exemplar is of other weights, or an unheard track is none.
    """
    settings, names = settings or PlantedSettings(), check_method_names(methods)
    if settings.replicates:
        config = replace(config, bank=replace(config.bank, replicates=settings.replicates))
    cache = Cache(Path(config.output.work) / "cache")
    corpus, model = load_corpus(config), load_model(config)
    if model.clap is not None:
        names = tuple(dict.fromkeys([*names, "clap"]))
    pairs, rare = truths.find_pairs(corpus.tracks), truths.find_rare(corpus.tracks)
    files = sorted(exemplars.glob("exemplar-*.safetensors")) if exemplars else []
    if exemplars and not files:
        raise UserError(f"{exemplars}: no exemplars here; make them first, or leave them out")
    if not pairs and not rare.any() and not files:
        raise UserError("evaluate planted: the corpus has no weighted and no rare tracks, and there are no exemplars")
    loaded = [made.load(path, model) for path in files]  # a file of other weights is told before the long pass
    apart = truths.read_unheard(unheard, corpus.tracks) if unheard and rare.any() else []

    items, key = load_latents(model, corpus, config, cache)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    decoys = [row for row, track in enumerate(corpus.tracks) if track.is_decoy]
    kept = sorted([*trained, *(decoys[i] for i in spread_evenly(len(decoys), settings.decoys))])
    corpus, items = Corpus([corpus.tracks[row] for row in kept], corpus.root), items[kept]
    pairs, rare = truths.find_pairs(corpus.tracks), truths.find_rare(corpus.tracks)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    config = restrict_config(config, names, len(trained))
    prompts = _prompts(corpus.tracks, pairs, rare, settings.seeds, config, model.sample_size / model.sample_rate)
    _tell_cost(model, items, config, len(prompts), len(kept), len(trained), len(loaded), len(apart), settings)
    judges = PlantedScorer(
        config=config,
        cache=cache,
        model=model,
        names=names,
        fisher=kept_fisher(model, items[trained], config, cache, key) if looks_at_gradients(config) else None,
        cohort=load_cohort(model, corpus, config, cache),
        exemplar_names=settings.exemplar_methods,
    )
    found: list[Row] = []
    cases: dict[str, list[Row]] = {}
    if prompts:
        scores = judges.corpus(prompts, items, corpus.tracks)
        of_pairs = truths.select_clips(scores, slice(len(pairs) * settings.seeds))
        of_rare = truths.select_clips(scores, slice(len(pairs) * settings.seeds, None))
        bank = noise_bank(config.bank)
        if pairs:
            losses = np.array(
                [[measure_mean_loss(model, items[[row]], bank) for row in (p.weighted, p.twin)] for p in pairs]
            )
            found += [*truths.judge_losses(losses), *truths.judge_weighted(of_pairs, pairs, settings.seeds)]
            cases["weighted"] = truths.list_weighted_cases(of_pairs, pairs, settings.seeds, losses, corpus.tracks)
        if rare.any():
            found += truths.judge_rare(truths.select_tracks(of_rare, np.array(trained)), rare[trained])
        if apart:
            found += _unheard_rows(judges, prompts[-settings.seeds :], items[trained], corpus, trained, apart)
    cases["exemplars"] = judges.exemplars(loaded, settings.exemplar_clips, items, corpus, trained)
    if cases["exemplars"]:
        found += truths.judge_exemplars(cases["exemplars"], len(trained) + 1)
    print(format_table(found, COLUMNS), flush=True)
    return write_result(
        out,
        f"planted truths: {', '.join(names)}; exemplars: {REUSED}",
        "python -m precompute evaluate planted",
        describe_hardware(str(model.device)),
        found,
        settings={
            "methods": {name: build(name, config, len(trained)).record() for name in names},
            "bank": vars(config.bank),
            "bank_of_exemplars": vars(reduce_config(config).bank),
            **vars(settings),
            "cohort": len(judges.cohort),
            "decoys": len(kept) - len(trained),
            "unheard": len(apart),
            "rivals": RIVALS,
        },
        model_sha256=model.sha256,
        cases=cases,
        skipped=judges.skipped,
    )


def _unheard_rows(
    judges: PlantedScorer,
    prompts: list[Prompt],
    items: Items,
    corpus: Corpus,
    trained: Sequence[int],
    apart: list[Track],
) -> list[Row]:
    """Heard rare tracks against those apart, in a pass in which methods are told that all were trained on.

    Methods that look at the training tracks as a whole treat tracks outside of them otherwise, heard or not; so that
    is made equal, and only the weights can tell one from the other. `items` are those of `trained`.
    """
    tracks = [corpus.tracks[row] for row in trained] + [replace(track, split="train") for track in apart]
    played = items.joined(load_latents(judges.model, Corpus(apart, corpus.root), judges.config, judges.cache)[0])
    is_apart = np.arange(len(tracks)) >= len(trained)
    is_heard = truths.find_rare(tracks) & ~is_apart
    bank = noise_bank(judges.config.bank)
    losses = np.array(
        [measure_mean_loss(judges.model, played[[row]], bank) for row in np.flatnonzero(is_heard | is_apart)]
    )
    print("rare tracks among pieces of their style that were never heard", flush=True)
    return truths.judge_unheard(judges.corpus(prompts, played, tracks), is_heard, is_apart, losses)


def _prompts(
    tracks: Sequence[Track],
    pairs: list[truths.TwinPair],
    rare: np.ndarray,
    seeds: int,
    config: RunConfig,
    longest: float,
) -> list[Prompt]:
    """Clips to judge by: `seeds` of each pair's caption, then `seeds` of the rare tracks' most common one.

    Lengths are the weighted track's, and that of the run's prompt with the rare caption (else the rare tracks' median).
    """
    asked = [(tracks[p.weighted].caption, tracks[p.weighted].duration_s) for p in pairs]
    if rare.any():
        caption, usual = truths.find_rare_caption(tracks, rare)
        shown = [p.seconds for p in read_prompts(Path(config.clips.prompts)) if p.text == caption]
        asked.append((caption, shown[0] if shown else usual))
    return [Prompt(0, caption, min(seconds, longest), PLANTED + k) for caption, seconds in asked for k in range(seeds)]


def _tell_cost(
    model: Model,
    items: Items,
    config: RunConfig,
    clips: int,
    tracks: int,
    trained: int,
    exemplars: int,
    apart: int,
    settings: PlantedSettings,
) -> None:
    pace, small = Pace.measure(model, items, config), reduce_config(config)
    parts = [
        ("clips of the planted captions, and the cohort", pace.generating(config, clips + config.clips.cohort)),
        (f"{clips} clips against {tracks} tracks and decoys", pace.scoring(config, clips, tracks, trained)),
    ]
    if apart:
        again = pace.scoring(config, settings.seeds, trained + apart, trained)
        parts.append((f"{settings.seeds} clips of the rare style against {apart} tracks that were never heard", again))
    if exemplars:
        each = pace.scoring(small, settings.exemplar_clips, trained + 1 + RIVALS)
        each += pace.generating(config, settings.exemplar_clips)
        before = pace.scoring(small, exemplars * settings.exemplar_clips, trained + exemplars * (1 + RIVALS))
        parts.append((f"{exemplars} exemplars before tuning", before))
        parts.append((f"{exemplars} exemplars among {trained} training tracks each", exemplars * each))
    tell(parts)
