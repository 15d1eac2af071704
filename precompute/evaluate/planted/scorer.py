"""Scores for planted truths: clips against all tracks, and exemplars by the model that was tuned on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from precompute.clips.generation import generate_clips
from precompute.clips.prompts import Prompt
from precompute.common import seeds
from precompute.common.cache import Cache
from precompute.common.results import Row
from precompute.common.sequences import spread_evenly
from precompute.config.methods import follows_training
from precompute.config.run import RunConfig
from precompute.corpus.intake import Corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track, read_manifest
from precompute.errors import UserError
from precompute.evaluate.null.alterations import recaption
from precompute.evaluate.planted import truths
from precompute.evaluate.scoring import (
    OTHER_WEIGHTS,
    ScoringInputs,
    make_scoring_context,
    normalise_scores,
    restrict_config,
    run_named_methods,
)
from precompute.exemplars.files import Exemplar, ExemplarUpdate
from precompute.exemplars.low_rank import LowRankUpdate, apply_update
from precompute.model.diffusion import Items, Model
from precompute.significance.ranks import rank_scores

COHORT, REPLICATES, STRATA = 16, 2, 2  # most cohort clips, and the largest bank, of the two passes for exemplars
RIVALS = 32  # decoys that are scored under the caption of an exemplar
NOT_ASKED = "it was not asked for by exemplars (--exemplar-method)"


def reduce_config(config: RunConfig) -> RunConfig:
    """Settings of the two passes for exemplars: smaller bank and cohort, half the ascent draws."""
    bank, steps = config.bank, config.unlearning
    return replace(
        config,
        bank=replace(bank, replicates=min(REPLICATES, bank.replicates), strata=min(STRATA, bank.strata)),
        clips=replace(config.clips, cohort=min(COHORT, config.clips.cohort)),
        unlearning=replace(steps, ascent_draws=steps.ascent_draws // 4 * 2 or 2),
    )


@dataclass(frozen=True)
class ExemplarRivals:
    """The tracks that exemplars are ranked among."""

    tracks: list[Track]  # [N], training tracks
    items: Items  # [N]
    decoys: list[Track]  # [V], scored under an exemplar's caption
    decoy_items: Items  # [V]
    root: Path  # folder of the corpus


@dataclass
class PlantedScorer:
    """Scores clips in passes over the tracks that share model, cohort and curvature; collects skipped methods."""

    config: RunConfig
    cache: Cache
    model: Model
    names: tuple[str, ...]  # of the methods that are judged
    fisher: torch.Tensor | None  # [P], of the untuned weights; None where no method looks at gradients
    cohort: Items  # [K]
    exemplar_names: tuple[str, ...] = ()  # of `names`, those that exemplars are judged by; none = all
    skipped: list[Row] = field(default_factory=list)  # method, truth, reason
    recordings: dict[Any, Any] = field(default_factory=dict)  # what methods that listen know already

    def score_prompts(self, prompts: list[Prompt], items: Items, tracks: Sequence[Track]) -> truths.ByMethod:
        """Clips of the prompts scored against items [N] of tracks in one pass."""
        clips = generate_clips(self.model, prompts, self.config, self.cache, "planted clips")
        inputs = ScoringInputs(tracks, items, clips, self.cohort, self.fisher)
        return self._score(self.names, "corpus", inputs, self.config)

    def rank_exemplars(
        self, tuning: ExemplarUpdate | None, clips: int, items: Items, corpus: Corpus, trained: Sequence[int]
    ) -> list[Row]:
        """A case for each exemplar, as `truths.judge_exemplars` reads them; `items` are those of the corpus's tracks.

        All are scored with the tuned weights in the model, by `clips` clips of theirs each; then with the untuned
        weights, by clips of those: what an exemplar's caption gives away without any tuning. The cohort's clips are of
        the untuned model, scored by the weights in use. Empty where no method can be judged by exemplars.
        """
        names = self._choose_exemplar_methods()
        if not names or tuning is None:
            return []
        exemplars, used = tuning.exemplars, set(tuning.track_ids)
        able = [k for k, t in enumerate(corpus.tracks) if t.is_decoy and not t.planted and t.track_id not in used]
        rows = [able[i] for i in spread_evenly(len(able), RIVALS)]
        rivals = ExemplarRivals(
            tracks=[corpus.tracks[row] for row in trained],
            items=items[trained],
            decoys=[corpus.tracks[row] for row in rows],
            decoy_items=items[rows],
            root=corpus.root,
        )
        print("exemplars, before tuning", flush=True)
        before = self._rank_among(rivals, exemplars, names, clips, None)
        print("exemplars, by the tuned model", flush=True)
        after = self._rank_among(rivals, exemplars, names, clips, tuning.update)
        record = {"steps": tuning.steps, "base_sha256": tuning.base_sha256}
        return [
            {**vars(exemplar), **record, **tuned, **{f"{name}_untuned": untuned[name] for name in ("ranks", "places")}}
            for exemplar, untuned, tuned in zip(exemplars, before, after, strict=True)
        ]

    def _choose_exemplar_methods(self) -> list[str]:
        """Names of the methods that exemplars are judged by; the others are skipped with their reason."""
        names = []
        for name in self.names:
            if self.exemplar_names and name not in self.exemplar_names:
                self._skip(name, "exemplars", NOT_ASKED)
            elif follows_training(name):
                self._skip(name, "exemplars", OTHER_WEIGHTS)
            else:
                names.append(name)
        return names

    def _rank_among(
        self,
        rivals: ExemplarRivals,
        exemplars: Sequence[Exemplar],
        names: Sequence[str],
        clips: int,
        update: LowRankUpdate | None,
    ) -> list[Row]:
        """Ranks of each exemplar by one set of weights: the tuned ones, or without `update` the untuned ones.

        `ranks`: among the training tracks and itself; `places`: among the rivals' decoys and itself; both
        {method: {kind: [a clip]}}. `rivals`: how many decoys.
        """
        config, count, decoys = reduce_config(self.config), len(rivals.tracks), len(rivals.decoys)
        cohort = self.cohort[spread_evenly(len(self.cohort), config.clips.cohort)]
        own = [_find_decoy(self.config, exemplar.track_id) for exemplar in exemplars]
        own_items, _ = load_latents(self.model, Corpus(own, rivals.root), self.config, self.cache)
        first_seed = seeds.PLANTED_EXEMPLARS
        prompts = [Prompt(0, e.caption, e.seconds, first_seed + k) for e in exemplars for k in range(clips)]
        with nullcontext() if update is None else apply_update(self.model, update):
            made = generate_clips(self.model, prompts, self.config, self.cache, "exemplar clips")
            items = rivals.items.join(own_items)
            tracks = [*rivals.tracks, *(replace(track, split="train", planted="exemplar") for track in own)]
            for number in range(len(exemplars)) if decoys else ():
                items = items.join(recaption(rivals.decoy_items, made, number * clips))
                tracks += [replace(track, planted="rival") for track in rivals.decoys]
            inputs = ScoringInputs(tracks, items, made, cohort, self.fisher)
            scores = self._score(names, "exemplars", inputs, config)
        cases = []
        for number in range(len(exemplars)):
            mine, first = count + number, count + len(exemplars) + number * decoys
            columns = {"ranks": [*range(count), mine], "places": [*range(first, first + decoys), mine]}
            of_clips = truths.select_clips(scores, slice(number * clips, (number + 1) * clips))
            case: Row = {"rivals": decoys}
            for name, chosen in columns.items():
                case[name] = {
                    method: {kind: rank_scores(values[:, chosen])[:, -1].tolist() for kind, values in both.items()}
                    for method, both in of_clips.items()
                }
            cases.append(case)
        return cases

    def _score(self, names: Sequence[str], truth: str, inputs: ScoringInputs, config: RunConfig) -> truths.ByMethod:
        """[Q, N] by method and kind of score."""
        trained = len([track for track in inputs.tracks if not track.is_decoy])
        config = restrict_config(config, names, trained, other_weights=truth == "exemplars")
        context = make_scoring_context(self.model, inputs, config, self.cache, self.recordings)
        judged = run_named_methods(context, names)
        for name, reason in judged.skipped.items():
            self._skip(name, truth, reason)
        return {name: normalise_scores(one.result) for name, one in judged.done.items()}

    def _skip(self, name: str, truth: str, reason: str) -> None:
        row = {"method": name, "truth": truth, "reason": reason}
        if row not in self.skipped:
            print(f"  {truth}: {name} is not judged: {reason}", flush=True)
            self.skipped.append(row)


def _find_decoy(config: RunConfig, track_id: int) -> Track:
    """A track of the manifest by its id, scored by the run or not: a run may thin its decoys. Raises UserError."""
    for track in read_manifest(Path(config.corpus.manifest)):
        if track.track_id == track_id:
            return track
    raise UserError(f"exemplar {track_id}: {config.corpus.manifest} has no such track")
