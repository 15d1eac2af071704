"""Which trainings a bench holds: on all works, on random halves of them, and without the first works of a ranking.

Halves are cut by *work*, so that no two recordings of one work are apart, and within each collection, so that a method
is not rewarded for telling styles apart. A training is named once and for all: "full-0", "half-012", "half-012-again",
"without-dtrak-03".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.common.files import write_atomically
from precompute.common.sequences import spread_evenly
from precompute.config.retraining import RetrainingSection
from precompute.corpus.tracks import Track
from precompute.errors import UserError

RANDOM = "random"  # in the place of a method: works of the same collections
FULL = "full-0"  # the model that makes the clips, and that methods score


@dataclass(frozen=True)
class Training:
    """One training of the bench model."""

    name: str
    rows: tuple[int, ...]  # of the bench's tracks that it is trained on, ascending
    seed: int  # of initialisation, order, timesteps and noise


def plan_trainings(tracks: Sequence[Track], section: RetrainingSection) -> list[Training]:
    """All trainings in the order in which they are to be done: a killed bench has judged methods as well as it could.

    Full ones stand first, then halves; a half that is repeated is followed by its repetition.
    """
    every = tuple(range(len(tracks)))
    trainings = [Training(f"full-{number}", every, section.seed + number) for number in range(section.full)]
    for number in range(section.halves):
        rows = cut_half(tracks, section.seed, number)
        trainings.append(Training(f"half-{number:03d}", rows, section.seed))
        if number < section.repeats:
            trainings.append(Training(f"half-{number:03d}-again", rows, section.seed + 1))
    return trainings


def cut_half(tracks: Sequence[Track], seed: int, number: int) -> tuple[int, ...]:
    """Rows of the tracks of half of the works of each collection, by seed and number; of an odd work a coin decides."""
    rng = np.random.default_rng([seed, number])
    works: dict[str, list[str]] = {}
    for track in tracks:
        own = works.setdefault(track.collection, [])
        if track.work_id not in own:
            own.append(track.work_id)
    chosen: set[str] = set()
    for _, own in sorted(works.items()):
        count = len(own) // 2 + (len(own) % 2 and int(rng.integers(2)))
        chosen.update(own[i] for i in rng.permutation(len(own))[:count])
    return tuple(row for row, track in enumerate(tracks) if track.work_id in chosen)


def choose_removals(
    tracks: Sequence[Track], section: RetrainingSection, scores: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Works to leave out, by the name of a training: for clips spread evenly, the first works of each method's ranking.

    `scores` [Q, N] by method. A work's score is the sum over its tracks and their copies. Beside the methods' works as
    many random ones from the collections of the first method's, other works than those. Raises UserError where a method
    has no scores.
    """
    copies = np.array([track.training_weight for track in tracks])
    works = sorted({track.work_id for track in tracks})
    place = {work: number for number, work in enumerate(works)}
    of_track = np.array([place[track.work_id] for track in tracks])
    collection = {track.work_id: track.collection for track in tracks}
    removals: dict[str, list[str]] = {}
    for clip in spread_evenly(section.clips, section.removal_clips):
        first: list[str] = []
        for method in section.removal_methods:
            if method not in scores:
                raise UserError(f"[retraining] removal_methods: {method} has no scores; see `evaluate retraining`")
            of_work = np.bincount(of_track, scores[method][clip] * copies, len(works))
            strongest = [works[i] for i in np.argsort(-of_work, kind="stable")[: section.remove]]
            removals[f"without-{method}-{clip:02d}"] = sorted(strongest)
            first = first or strongest
        rng, drawn = np.random.default_rng([section.seed, clip, 1]), []
        for name, count in sorted(Counter(collection[work] for work in first).items()):
            others = [work for work in works if collection[work] == name and work not in first]
            drawn += [others[i] for i in rng.permutation(len(others))[:count]]
        rest = [work for work in works if work not in first and work not in drawn]  # a collection that is all removed
        drawn += [rest[i] for i in rng.permutation(len(rest))[: len(first) - len(drawn)]]
        removals[f"without-{RANDOM}-{clip:02d}"] = sorted(drawn)
    return removals


def plan_removals(tracks: Sequence[Track], section: RetrainingSection, path: Path) -> list[Training]:
    """The trainings of a file of removals, `fix_removals`; none where there is no file."""
    if not path.exists():
        return []
    removals: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    trainings = []
    for name, works in removals.items():
        rows = tuple(row for row, track in enumerate(tracks) if track.work_id not in works)
        trainings.append(Training(name, rows, section.seed))
    return trainings


def fix_removals(path: Path, removals: Mapping[str, Sequence[str]]) -> None:
    """Write which works are left out, once: scores that are computed again later do not change what was trained."""
    if not path.exists():
        lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(list(works))}" for name, works in removals.items())
        write_atomically(path, "{\n" + lines + "\n}\n")
