"""Which trainings a bench holds: on all works, on random halves of them, and on halves again with another seed.

Halves are cut by *work*, so that no two recordings of one work are apart, and within each collection, so that a method
is not rewarded for telling styles apart. A training is named once and for all: "full-0", "half-012", "half-012-again".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.config.retraining import RetrainingSection
from precompute.corpus.tracks import Track

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
