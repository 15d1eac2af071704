"""Similarity of a clip and a track by musical aspect, as a percentile among random pairs of clip and track.

melody: predominant pitches aligned, in the best transposition. harmony: which pitch classes sound together, in the best
transposition, whatever the order. rhythm: the periods of the onsets, and how dense they are. timbre: the spectrum's
shape, each measure in standard deviations over the tracks. Higher = more alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precompute.common import seeds
from precompute.common.cache import Arrays
from precompute.resemblance.alignment import SEMITONES, align, compare_frames

ASPECTS = ("melody", "harmony", "rhythm", "timbre")
SAME_NOTE = 0.6  # cosine of two frames' predominant pitches above which they count as the same note
EXTRA_FRAMES = 20  # 2 s, added to the shorter length, so that a single note that fits does not count as a melody
RANDOM_PAIRS = 2000


class AspectComparison:
    """Similarities of clips and tracks, and their distribution over random pairs."""

    def __init__(self, clips: Sequence[Arrays], tracks: Sequence[Arrays]) -> None:
        """Compare RANDOM_PAIRS pairs of clip and track, drawn by a fixed seed; features as `describe` gives them."""
        self.clips, self.tracks = clips, tracks
        timbre = np.stack([t["timbre"] for t in tracks])
        self._scale = np.maximum(timbre.std(0), 1e-6)
        rng = np.random.default_rng(seeds.ASPECTS)
        total = len(clips) * len(tracks)
        chosen = rng.choice(total, min(RANDOM_PAIRS, total), replace=False)
        usual = [self.measure_similarities(*divmod(int(pair), len(tracks))) for pair in chosen]
        self._usual = {aspect: np.sort([row[aspect] for row in usual]) for aspect in ASPECTS}

    def measure_similarities(self, clip: int, track: int) -> dict[str, float]:
        """Similarity by aspect of a row of the clips and a row of the tracks."""
        one, other = self.clips[clip], self.tracks[track]
        return {
            "melody": _compare_melody(one["melody"], other["melody"]),
            "harmony": _compare_harmony(one["harmony"], other["harmony"]),
            "rhythm": _compare_rhythm(one, other),
            "timbre": -float(np.linalg.norm((one["timbre"] - other["timbre"]) / self._scale)),
        }

    def rank_similarities(self, clip: int, track: int) -> dict[str, float]:
        """Percentile by aspect: the share of random pairs that are less alike, in percent; ties count half."""
        percentiles = {}
        for aspect, value in self.measure_similarities(clip, track).items():
            usual = self._usual[aspect]
            below = np.searchsorted(usual, value, "left") + np.searchsorted(usual, value, "right")
            percentiles[aspect] = float(50 * below / len(usual))
        return percentiles


def _compare_melody(one: np.ndarray, other: np.ndarray) -> float:
    gains = np.stack([compare_frames(one, other, k) for k in SEMITONES])
    best = align(np.maximum((gains - SAME_NOTE) / (1 - SAME_NOTE), -1))
    return best.score / (min(len(one), len(other)) + EXTRA_FRAMES)


def _compare_harmony(one: np.ndarray, other: np.ndarray) -> float:
    lengths = max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return max(float((one * np.roll(other, (k, k), axis=(0, 1))).sum()) for k in SEMITONES) / lengths


def _compare_rhythm(one: Arrays, other: Arrays) -> float:
    density = abs(np.log((float(one["density"]) + 0.25) / (float(other["density"]) + 0.25)))
    return 0.5 * (float(one["tempogram"] @ other["tempogram"]) + float(np.exp(-density)))
