"""How much alike, by musical aspect: each a similarity, told as its percentile among random pairs of clip and track.

melody: predominant pitches aligned, in the best transposition. harmony: which pitch classes sound together, in the best
transposition, whatever the order. rhythm: the periods of the onsets, and how dense they are. timbre: the spectrum's
shape, each measure in standard deviations over the tracks. Higher = more alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precompute.common.cache import Arrays
from precompute.resemblance.alignment import SEMITONES, agreement, align

ASPECTS = ("melody", "harmony", "rhythm", "timbre")
FITS = 0.6  # cosine of two frames' predominant pitches above which they count as the same note
SOME = 20  # frames (2 s) added to a length: a single note that fits is not a melody
RANDOM_PAIRS = 2000
SEED = 404


class AspectComparison:
    """Similarities of clips and tracks, and what is usual among random pairs."""

    def __init__(self, clips: Sequence[Arrays], tracks: Sequence[Arrays]) -> None:
        self.clips, self.tracks = clips, tracks
        timbre = np.stack([t["timbre"] for t in tracks])
        self._scale = np.maximum(timbre.std(0), 1e-6)
        rng = np.random.default_rng(SEED)
        total = len(clips) * len(tracks)
        chosen = rng.choice(total, min(RANDOM_PAIRS, total), replace=False)
        usual = [self.similarities(*divmod(int(pair), len(tracks))) for pair in chosen]
        self._usual = {aspect: np.sort([row[aspect] for row in usual]) for aspect in ASPECTS}

    def similarities(self, clip: int, track: int) -> dict[str, float]:
        """By aspect, for a row of the clips and one of the tracks."""
        one, other = self.clips[clip], self.tracks[track]
        return {
            "melody": _melody(one["melody"], other["melody"]),
            "harmony": _harmony(one["harmony"], other["harmony"]),
            "rhythm": _rhythm(one, other),
            "timbre": -float(np.linalg.norm((one["timbre"] - other["timbre"]) / self._scale)),
        }

    def percentiles(self, clip: int, track: int) -> dict[str, float]:
        """By aspect: the share of random pairs that are less alike, in percent; ties count half."""
        found = {}
        for aspect, value in self.similarities(clip, track).items():
            usual = self._usual[aspect]
            below = np.searchsorted(usual, value, "left") + np.searchsorted(usual, value, "right")
            found[aspect] = float(50 * below / len(usual))
        return found


def _melody(one: np.ndarray, other: np.ndarray) -> float:
    gains = np.stack([agreement(one, other, k) for k in SEMITONES])
    found = align(np.maximum((gains - FITS) / (1 - FITS), -1))
    return found.score / (min(len(one), len(other)) + SOME)


def _harmony(one: np.ndarray, other: np.ndarray) -> float:
    lengths = max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return max(float((one * np.roll(other, (k, k), axis=(0, 1))).sum()) for k in SEMITONES) / lengths


def _rhythm(one: Arrays, other: Arrays) -> float:
    density = abs(np.log((float(one["density"]) + 0.25) / (float(other["density"]) + 0.25)))
    return 0.5 * (float(one["tempogram"] @ other["tempogram"]) + float(np.exp(-density)))
