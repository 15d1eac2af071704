"""Methods judged by known truths: weighted tracks against their twins, a rare style, exemplars.

All methods share one pass over the tracks' gradients. Beside them stand CLAP's similarity (a listener's guess: it knows
the sound and not the model) and the expectation of a random ranking. Every score is told raw and normalised over the
run's cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.cache import Cache
from precompute.calibrate import ranks
from precompute.clips import Prompt, read_prompts
from precompute.config import RunConfig
from precompute.corpus import Track, read_manifest
from precompute.curvature import kept_fisher
from precompute.engine import noise_bank
from precompute.errors import UserError
from precompute.evaluate import truths
from precompute.evaluate.cost import Pace, tell
from precompute.evaluate.result import Row, table, write_result
from precompute.evaluate.scoring import (
    OTHER_WEIGHTS,
    both_kinds,
    context_of,
    follows_training,
    judge,
    known_methods,
    looks_at_gradients,
    settings_for,
)
from precompute.fisher import evenly
from precompute.methods.catalogue import build
from precompute.model import Items, Model
from precompute.stages import Corpus, generated, load_cohort, load_corpus, load_latents, load_model
from precompute.train import exemplars as made
from precompute.train.diffusion import mean_loss
from precompute.train.lora import apply

PLANTED_SEED, EXEMPLAR_SEED = 2_000_000, 2_500_000  # starting noise, apart from prompts, cohort and checks
COHORT, REPLICATES, STRATA = 16, 2, 2  # clips, and the bank, for each exemplar's own pass; half of the ascent draws
COLUMNS = ("truth", "method", "score", "name", "value", "low", "high")
NOT_ASKED = "it was not asked for by exemplars (--exemplar-method)"
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
            known_methods(self.exemplar_methods, "--exemplar-method")


def evaluate_planted(
    config: RunConfig,
    out: Path,
    methods: Sequence[str] = ("unlearning",),
    exemplars: Path | None = None,
    settings: PlantedSettings | None = None,
) -> dict[str, Any]:
    """Judge methods of the catalogue, print a table, write JSON to `out`; what was written. Resumable.

    weighted: share of (pair, seed) in which the weighted track is above its twin, for `seeds` clips of their caption.
    rare: how many rare tracks stand among the 10 best training tracks of a clip of their caption; success = at least 3
    in all seeds but one. exemplars (a folder of `make_exemplars`): rank of the exemplar among all training tracks and
    itself, for clips of the tuned weights; scores are of the tuned weights too, with a smaller bank and cohort, but
    under the preconditioner of the untuned ones: a Fisher pass costs minutes, and the weights hardly move. A method
    that cannot be judged by one of these is left out of it with its reason. Raises UserError for an unknown method, or
    none that can be judged; where the corpus has none of these cases; where an exemplar is of other weights.
    """
    settings, names = settings or PlantedSettings(), known_methods(methods)
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

    items, key = load_latents(model, corpus, config, cache)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    decoys = [row for row, track in enumerate(corpus.tracks) if track.is_decoy]
    kept = sorted([*trained, *(decoys[i] for i in evenly(len(decoys), settings.decoys))])
    corpus, items = Corpus([corpus.tracks[row] for row in kept], corpus.root), items[kept]
    pairs, rare = truths.find_pairs(corpus.tracks), truths.find_rare(corpus.tracks)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    config = settings_for(config, names, len(trained))
    prompts = _prompts(corpus.tracks, pairs, rare, settings.seeds, config, model.sample_size / model.sample_rate)
    _tell_cost(model, items, config, len(prompts), len(kept), len(trained), len(loaded), settings)
    judges = _Judge(
        config=config,
        cache=cache,
        model=model,
        names=names,
        fisher=kept_fisher(model, items[trained], config, cache, key) if looks_at_gradients(config) else None,
        cohort=load_cohort(model, corpus, config, cache),
    )
    found: list[Row] = []
    cases: dict[str, list[Row]] = {}
    if prompts:
        scores = judges.corpus(prompts, items, corpus.tracks)
        of_pairs = truths.clips_only(scores, slice(len(pairs) * settings.seeds))
        of_rare = truths.clips_only(scores, slice(len(pairs) * settings.seeds, None))
        if pairs:
            bank = noise_bank(config.bank)
            losses = np.array([[mean_loss(model, items[[row]], bank) for row in (p.weighted, p.twin)] for p in pairs])
            found += [*truths.loss_rows(losses), *truths.weighted_rows(of_pairs, pairs, settings.seeds)]
            cases["weighted"] = truths.weighted_cases(of_pairs, pairs, settings.seeds, losses, corpus.tracks)
        if rare.any():
            found += truths.rare_rows(truths.tracks_only(of_rare, np.array(trained)), rare[trained])
    for exemplar in loaded:
        case = judges.exemplar(exemplar, settings, items[trained], corpus, trained)
        if case["ranks"]:
            cases.setdefault("exemplars", []).append(case)
    if "exemplars" in cases:
        found += truths.exemplar_rows(cases["exemplars"], len(trained) + 1)
    print(table(found, COLUMNS), flush=True)
    return write_result(
        out,
        f"planted truths: {', '.join(names)}; exemplars: {REUSED}",
        "python -m precompute evaluate planted",
        str(model.device),
        found,
        settings={
            "methods": {name: build(name, config, len(trained)).record() for name in names},
            "bank": vars(config.bank),
            "bank_of_exemplars": vars(_small(config).bank),
            **vars(settings),
            "cohort": len(judges.cohort),
            "decoys": len(kept) - len(trained),
        },
        model_sha256=model.sha256,
        cases=cases,
        skipped=judges.skipped,
    )


def _prompts(
    tracks: Sequence[Track], pairs: list[truths.Pair], rare: np.ndarray, seeds: int, config: RunConfig, longest: float
) -> list[Prompt]:
    """Clips to judge by: `seeds` of each pair's caption, then `seeds` of the rare tracks' most common one.

    Lengths are the weighted track's, and that of the run's prompt with the rare caption (else the rare tracks' median).
    """
    asked = [(tracks[p.weighted].caption, tracks[p.weighted].duration_s) for p in pairs]
    if rare.any():
        caption, usual = truths.rare_caption(tracks, rare)
        shown = [p.seconds for p in read_prompts(Path(config.clips.prompts)) if p.text == caption]
        asked.append((caption, shown[0] if shown else usual))
    return [
        Prompt(0, caption, min(seconds, longest), PLANTED_SEED + k) for caption, seconds in asked for k in range(seeds)
    ]


def _small(config: RunConfig) -> RunConfig:
    """The settings of an exemplar's own pass: there is one for each."""
    bank, steps = config.bank, config.unlearning
    return replace(
        config,
        bank=replace(bank, replicates=min(REPLICATES, bank.replicates), strata=min(STRATA, bank.strata)),
        clips=replace(config.clips, cohort=min(COHORT, config.clips.cohort)),
        unlearning=replace(steps, ascent_draws=steps.ascent_draws // 4 * 2 or 2),
    )


def _tell_cost(
    model: Model,
    items: Items,
    config: RunConfig,
    clips: int,
    tracks: int,
    trained: int,
    exemplars: int,
    settings: PlantedSettings,
) -> None:
    pace, small = Pace.measure(model, items, config), _small(config)
    parts = [
        ("clips of the planted captions, and the cohort", pace.generating(config, clips + config.clips.cohort)),
        (f"{clips} clips against {tracks} tracks and decoys", pace.scoring(config, clips, tracks, trained)),
    ]
    if exemplars:
        each = pace.scoring(small, settings.exemplar_clips, trained + 1)
        each += pace.generating(config, settings.exemplar_clips)
        parts.append((f"{exemplars} exemplars among {trained} training tracks each", exemplars * each))
    tell(parts)


# -- scoring -----------------------------------------------------------------------------------------------------


@dataclass
class _Judge:
    """What all passes over the tracks share."""

    config: RunConfig
    cache: Cache
    model: Model
    names: tuple[str, ...]
    fisher: torch.Tensor | None  # [P], of the untuned weights; None where no method looks at gradients
    cohort: Items  # [K]
    skipped: list[Row] = field(default_factory=list)  # method, truth, reason
    recordings: dict[Any, Any] = field(default_factory=dict)  # what methods that listen know already

    def corpus(self, prompts: list[Prompt], items: Items, tracks: Sequence[Track]) -> truths.ByMethod:
        """Clips of the prompts, scored against all tracks and decoys in one pass."""
        clips = generated(self.model, prompts, self.config, self.cache, "planted clips")
        return self._scores(self.names, "corpus", clips, self.cohort, items, tracks, self.config)

    def exemplar(
        self, exemplar: made.Exemplar, settings: PlantedSettings, items: Items, corpus: Corpus, trained: list[int]
    ) -> Row:
        """One exemplar among the training tracks `items`, with the tuned weights in the model: its ranks by method.

        A track's usual score is taken over clips of the untuned model, scored by the tuned weights.
        """
        track = _decoy(self.config, exemplar.track_id)
        own, _ = load_latents(self.model, Corpus([track], corpus.root), self.config, self.cache)
        tracks = [corpus.tracks[row] for row in trained] + [replace(track, split="train", planted="exemplar")]
        small = _small(self.config)
        cohort = self.cohort[evenly(len(self.cohort), small.clips.cohort)]
        prompts = [
            Prompt(0, exemplar.caption, exemplar.seconds, EXEMPLAR_SEED + k) for k in range(settings.exemplar_clips)
        ]
        asked = settings.exemplar_methods or self.names
        names = [name for name in self.names if name in asked and not follows_training(name)]
        for name in self.names:
            if name not in names:
                self._skip(name, "exemplars", OTHER_WEIGHTS if name in asked else NOT_ASKED)
        scores: truths.ByMethod = {}
        if names:
            print(f"exemplar {exemplar.track_id}: {exemplar.caption}", flush=True)
            with apply(self.model, exemplar.pairs):
                clips = generated(self.model, prompts, self.config, self.cache, "exemplar clips")
                scores = self._scores(names, "exemplars", clips, cohort, items.joined(own), tracks, small)
        places = {
            name: {kind: ranks(values)[:, -1].tolist() for kind, values in both.items()}
            for name, both in scores.items()
        }
        record = {name: value for name, value in vars(exemplar).items() if name != "pairs"}
        return {**record, "ranks": places}

    def _scores(
        self,
        names: Sequence[str],
        truth: str,
        clips: Items,
        cohort: Items,
        items: Items,
        tracks: Sequence[Track],
        config: RunConfig,
    ) -> truths.ByMethod:
        """[Q, N] by method and kind of score."""
        trained = len([track for track in tracks if not track.is_decoy])
        config = settings_for(config, names, trained, other_weights=truth == "exemplars")
        context = context_of(self.model, tracks, items, clips, cohort, config, self.cache, self.fisher, self.recordings)
        judged = judge(context, names)
        for name, reason in judged.skipped.items():
            self._skip(name, truth, reason)
        return {name: both_kinds(one.result, tracks) for name, one in judged.done.items()}

    def _skip(self, name: str, truth: str, reason: str) -> None:
        row = {"method": name, "truth": truth, "reason": reason}
        if row not in self.skipped:
            print(f"  {truth}: {name} is not judged: {reason}", flush=True)
            self.skipped.append(row)


def _decoy(config: RunConfig, track_id: int) -> Track:
    """A track by its id, whether or not the run scores it: a run may thin its decoys."""
    for track in read_manifest(Path(config.corpus.manifest)):
        if track.track_id == track_id:
            return track
    raise UserError(f"exemplar {track_id}: {config.corpus.manifest} has no such track")
