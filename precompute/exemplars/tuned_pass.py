"""What the pass of the tuned model works on: exemplars as training tracks, clips of their captions, fewer draws.

The weights themselves are put into the model by `apply_update`, for as long as the pass takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from precompute.clips.prompts import Prompt
from precompute.common import seeds
from precompute.config.methods import follows_training
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.intake import Corpus
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.exemplars.files import ExemplarUpdate, load_exemplars
from precompute.model.diffusion import Model

RUN_ID = 2  # of the tuned model's row in table `runs`
PLANTED = "exemplar"  # `planted` of an exemplar's track in this pass; in the main run it is an ordinary decoy


@dataclass(frozen=True)
class TunedPass:
    """The inputs of the pass, beside the model."""

    tuning: ExemplarUpdate
    corpus: Corpus  # of the main run, in its order, the exemplars as training tracks
    config: RunConfig  # of the main run, with the draws and the cohort of [exemplars]
    prompts: list[Prompt]  # of the clips, numbered after those of the main run

    @property
    def note(self) -> str:
        """What sets the tuned model apart, one plain clause, for table `runs`."""
        titles = {track.track_id: track.title for track in self.corpus.tracks}
        names = ", ".join(titles[track_id] for track_id in self.tuning.track_ids)
        count = len(self.tuning.exemplars)
        what = "one recording" if count == 1 else f"{_spell(count)} recordings"
        return f"tuned by low-rank updates on {what} that the model never heard: {names}"

    def name_tracks(self, key: str, model: Model) -> str:
        """A key of the tracks in their roles and of the tuned model, from the main run's `key` of both."""
        roles = [(track.track_id, track.split, track.planted) for track in self.corpus.tracks]
        return fingerprint(key, model.inputs_sha256, roles)

    def choose_methods(self, names: Sequence[str]) -> list[str]:
        """Those of the methods that can judge tuned weights: not such as look at checkpoints of the training."""
        return [name for name in names if not follows_training(name)]


def plan_tuned_pass(model: Model, corpus: Corpus, config: RunConfig, shown: Sequence[Prompt]) -> TunedPass | None:
    """The pass that `[exemplars]` asks for, None where it names no update; `shown`: the main run's clips.

    Raises UserError where the update is of other weights, or an exemplar is no decoy of the run.
    """
    section = config.exemplars
    if not section.update:
        return None
    tuning = load_exemplars(Path(section.update), model)
    by_id = {track.track_id: track for track in corpus.tracks}
    for track_id in tuning.track_ids:
        if track_id not in by_id or not by_id[track_id].is_decoy:
            raise UserError(
                f"[exemplars] update: {section.update} was trained on track {track_id}, which is no decoy of this run;"
                " a run that thins its decoys ([corpus] decoys) may have left it out"
            )
    own = set(tuning.track_ids)
    tracks = [_take_in(track) if track.track_id in own else track for track in corpus.tracks]
    first = max((prompt.clip_id for prompt in shown), default=0) + 1
    takes = [(exemplar, take) for exemplar in tuning.exemplars for take in range(section.clips)]
    prompts = [
        Prompt(first + number, exemplar.caption, exemplar.seconds, seeds.EXEMPLAR_CLIPS + number)
        for number, (exemplar, _) in enumerate(takes)
    ]
    return TunedPass(tuning, replace(corpus, tracks=tracks), section.reduce(config), prompts)


def _take_in(track: Track) -> Track:
    """A decoy as the training track that it is for the tuned model."""
    return replace(track, split="train", planted=PLANTED)


def _spell(count: int) -> str:
    """A small number as a word."""
    words = ("two", "three", "four", "five", "six", "seven", "eight")
    return words[count - 2] if count - 2 < len(words) else str(count)
