"""The list of clips: prompts from a file, prompts of the normalisation cohort, training tracks as targets.

Needs no torch.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from precompute.common import seeds
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.errors import UserError


@dataclass(frozen=True)
class Prompt:
    """One clip: to generate from text and seed, or (with `path`) a sound that the user brought."""

    clip_id: int
    text: str  # empty for a sound
    seconds: float
    seed: int | None
    path: Path | None = None
    title: str | None = None  # of a sound: its file's name, and the seconds of it that are heard
    conditioning: str = "prompt"  # what it is scored under: prompt | clap_audio | empty
    digest: str = ""  # SHA-256 of a sound's bytes

    @property
    def kind(self) -> str:
        """The name of its kind in table `clips`: user | generated."""
        return "user" if self.path else "generated"

    @property
    def key(self) -> tuple[str, float, int | None, str]:
        """All that its latents depend on, beside the model."""
        return self.text, self.seconds, self.seed, self.digest


def read_prompts(path: Path) -> list[Prompt]:
    """Rows clip_id, prompt, seconds, seed of a CSV. Raises UserError naming the line."""
    if not path.is_file():
        raise UserError(
            f"{path}: no prompts here; [clips] prompts must name a CSV file (clip_id, prompt, seconds, seed)"
        )
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    prompts = []
    for line, row in enumerate(rows, start=2):
        try:
            prompt = Prompt(int(row["clip_id"]), row["prompt"].strip(), float(row["seconds"]), int(row["seed"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}, line {line}: needs clip_id, prompt, seconds and seed ({error})") from None
        if not prompt.text or not 0 < prompt.seconds < 3600:
            raise UserError(f"{path}, line {line}: the prompt is empty, or seconds = {row['seconds']} is not a length")
        prompts.append(prompt)
    if not prompts:
        raise UserError(f"{path}: no prompts in it")
    if len({p.clip_id for p in prompts}) < len(prompts):
        raise UserError(f"{path}: a clip_id stands twice")
    return prompts


def read_run_prompts(config: RunConfig) -> list[Prompt]:
    """The prompts of a run; none where [clips] names sounds alone. Raises UserError."""
    return read_prompts(Path(config.clips.prompts)) if config.clips.prompts else []


def choose_cohort_prompts(tracks: Sequence[Track], shown: Sequence[Prompt], count: int, longest: float) -> list[Prompt]:
    """Prompts of the cohort: captions and lengths (at most `longest` seconds) of training tracks, and own seeds.

    Every other one is a decoy's where there are decoys, so that the cohort favours neither side. Collections take
    turns; captions that a shown clip has are avoided where a collection has others.
    """
    shown_texts = {prompt.text for prompt in shown}
    sides = [_queue_by_collection(tracks, decoy, shown_texts) for decoy in (False, True)]
    sides = [queues for queues in sides if queues]
    chosen = []
    for number in range(count):
        queues, turn = sides[number % len(sides)], number // len(sides)
        queue = queues[turn % len(queues)]
        track = queue[(turn // len(queues)) * 7 % len(queue)]
        chosen.append(Prompt(0, track.caption, min(track.duration_s, longest), seeds.COHORT + number))
    return chosen


def _queue_by_collection(tracks: Sequence[Track], decoys: bool, shown_texts: set[str]) -> list[list[Track]]:
    """Regular tracks, or decoys, of each collection in turn, without the captions of shown clips where others are."""
    by_collection: dict[str, list[Track]] = {}
    for track in tracks:
        if track.is_decoy == decoys and not track.planted:
            by_collection.setdefault(track.collection, []).append(track)
    groups = [group for _, group in sorted(by_collection.items())]
    return [[t for t in group if t.caption not in shown_texts] or group for group in groups]


def choose_targets(tracks: Sequence[Track], count: int) -> list[Track]:
    """Training tracks to unlearn themselves: spread evenly over collections and ids, without planted ones."""
    regular = sorted((t for t in tracks if not t.is_decoy and not t.planted), key=lambda t: (t.collection, t.track_id))
    return [regular[i] for i in spread_evenly(len(regular), count)] if count else []
