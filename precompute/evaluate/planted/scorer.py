"""Scores for known truths: clips against all tracks, and exemplars with the weights that were tuned on them."""

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
from precompute.config.run import RunConfig
from precompute.corpus.intake import Corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track, read_manifest
from precompute.errors import UserError
from precompute.evaluate.null.alterations import recaption
from precompute.evaluate.planted import truths
from precompute.evaluate.scoring import (
    OTHER_WEIGHTS,
    follows_training,
    make_scoring_context,
    normalise_scores,
    restrict_config,
    run_named_methods,
)
from precompute.model.diffusion import Items, Model
from precompute.significance.ranks import rank_scores
from precompute.train import exemplars as made
from precompute.train.lora import apply_update

COHORT, REPLICATES, STRATA = 16, 2, 2  # clips, and the bank, of a pass for exemplars; half of the ascent draws
RIVALS = 32  # decoys under the caption of an exemplar
NOT_ASKED = "it was not asked for by exemplars (--exemplar-method)"


def reduce_config(config: RunConfig) -> RunConfig:
    """The settings of a pass for exemplars: there is one for each, and one for all of them untuned."""
    bank, steps = config.bank, config.unlearning
    return replace(
        config,
        bank=replace(bank, replicates=min(REPLICATES, bank.replicates), strata=min(STRATA, bank.strata)),
        clips=replace(config.clips, cohort=min(COHORT, config.clips.cohort)),
        unlearning=replace(steps, ascent_draws=steps.ascent_draws // 4 * 2 or 2),
    )


@dataclass
class PlantedScorer:
    """What all passes over the tracks share."""

    config: RunConfig
    cache: Cache
    model: Model
    names: tuple[str, ...]
    fisher: torch.Tensor | None  # [P], of the untuned weights; None where no method looks at gradients
    cohort: Items  # [K]
    exemplar_names: tuple[str, ...] = ()  # of `names`, those that exemplars are judged by; none = all
    skipped: list[Row] = field(default_factory=list)  # method, truth, reason
    recordings: dict[Any, Any] = field(default_factory=dict)  # what methods that listen know already

    def corpus(self, prompts: list[Prompt], items: Items, tracks: Sequence[Track]) -> truths.ByMethod:
        """Clips of the prompts, scored against all tracks and decoys in one pass."""
        clips = generate_clips(self.model, prompts, self.config, self.cache, "planted clips")
        return self._scores(self.names, "corpus", clips, self.cohort, items, tracks, self.config)

    def exemplars(
        self, loaded: Sequence[made.Exemplar], clips: int, items: Items, corpus: Corpus, trained: Sequence[int]
    ) -> list[Row]:
        """What `truths.judge_exemplars` reads, a case for each; `items` and `corpus` hold the same tracks.

        Each is judged with the tuned weights in the model; then all with the untuned ones, by clips of the untuned
        ones: what an exemplar's caption gives away without any tuning. A track's usual score is taken over clips of
        the untuned model, scored by the weights in use. None where no method can be judged so.
        """
        names = []
        for name in self.names:
            if self.exemplar_names and name not in self.exemplar_names:
                self._skip(name, "exemplars", NOT_ASKED)
            elif follows_training(name):
                self._skip(name, "exemplars", OTHER_WEIGHTS)
            else:
                names.append(name)
        if not names or not loaded:
            return []
        used = {exemplar.track_id for exemplar in loaded}
        able = [k for k, t in enumerate(corpus.tracks) if t.is_decoy and not t.planted and t.track_id not in used]
        rivals = [able[i] for i in spread_evenly(len(able), RIVALS)] if able else []
        print("exemplars, before tuning", flush=True)
        before = self._rank_exemplars(loaded, False, names, clips, items, corpus, trained, rivals)
        cases = []
        for exemplar, untuned in zip(loaded, before, strict=True):
            print(f"exemplar {exemplar.track_id}: {exemplar.caption}", flush=True)
            [tuned] = self._rank_exemplars([exemplar], True, names, clips, items, corpus, trained, rivals)
            record = {name: value for name, value in vars(exemplar).items() if name != "pairs"}
            cases.append({**record, **tuned, **{f"{name}_untuned": untuned[name] for name in ("ranks", "places")}})
        return cases

    def _rank_exemplars(
        self,
        loaded: Sequence[made.Exemplar],
        tuned: bool,
        names: Sequence[str],
        clips: int,
        items: Items,
        corpus: Corpus,
        trained: Sequence[int],
        rivals: Sequence[int],
    ) -> list[Row]:
        """Of each exemplar by the same weights: its ranks among the training tracks and itself, its places among
        rivals and itself, {method: {kind: [a clip]}}; how many rivals.
        """
        small = reduce_config(self.config)
        cohort = self.cohort[spread_evenly(len(self.cohort), small.clips.cohort)]
        found = [_find_decoy(self.config, exemplar.track_id) for exemplar in loaded]
        own, _ = load_latents(self.model, Corpus(found, corpus.root), self.config, self.cache)
        asked = [Prompt(0, e.caption, e.seconds, seeds.PLANTED_EXEMPLARS + k) for e in loaded for k in range(clips)]
        with apply_update(self.model, loaded[0].pairs) if tuned else nullcontext():
            made_clips = generate_clips(self.model, asked, self.config, self.cache, "exemplar clips")
            scored = items[trained].joined(own)
            tracks = [corpus.tracks[row] for row in trained]
            tracks += [replace(track, split="train", planted="exemplar") for track in found]
            for number in range(len(loaded)) if rivals else ():
                scored = scored.joined(recaption(items[rivals], made_clips, number * clips))
                tracks += [replace(corpus.tracks[row], planted="rival") for row in rivals]
            scores = self._scores(names, "exemplars", made_clips, cohort, scored, tracks, small)
        cases = []
        for number in range(len(loaded)):
            mine, first = len(trained) + number, len(trained) + len(loaded) + number * len(rivals)
            columns = {
                "ranks": [*range(len(trained)), mine],
                "places": [*range(first, first + len(rivals)), mine],
            }
            of_clips = truths.select_clips(scores, slice(number * clips, (number + 1) * clips))
            case: Row = {"rivals": len(rivals)}
            for name, chosen in columns.items():
                case[name] = {
                    method: {kind: rank_scores(values[:, chosen])[:, -1].tolist() for kind, values in both.items()}
                    for method, both in of_clips.items()
                }
            cases.append(case)
        return cases

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
        config = restrict_config(config, names, trained, other_weights=truth == "exemplars")
        context = make_scoring_context(
            self.model, tracks, items, clips, cohort, config, self.cache, self.fisher, self.recordings
        )
        judged = run_named_methods(context, names)
        for name, reason in judged.skipped.items():
            self._skip(name, truth, reason)
        return {name: normalise_scores(one.result, tracks) for name, one in judged.done.items()}

    def _skip(self, name: str, truth: str, reason: str) -> None:
        row = {"method": name, "truth": truth, "reason": reason}
        if row not in self.skipped:
            print(f"  {truth}: {name} is not judged: {reason}", flush=True)
            self.skipped.append(row)


def _find_decoy(config: RunConfig, track_id: int) -> Track:
    """A track by its id, whether or not the run scores it: a run may thin its decoys."""
    for track in read_manifest(Path(config.corpus.manifest)):
        if track.track_id == track_id:
            return track
    raise UserError(f"exemplar {track_id}: {config.corpus.manifest} has no such track")
