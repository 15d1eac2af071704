"""Is anything copied? Passages of a clip and a track that run alike, frame by frame, in the best transposition.

Two frames agree by their chroma (three quarters) and by whether a note begins (one quarter). An agreement counts only
above what 90 % of frames of decoys reach with this clip, so a held chord does not fit everything. The similarity of a
passage is a length: seconds of perfect agreement that it is worth. Its p-value says how often a decoy's best passage
comes as close to this clip: (1 + decoys as close) / (1 + decoys). Copying is not influence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.common.cache import Arrays
from precompute.resemblance.alignment import SEMITONES, Alignment, agreement, align
from precompute.resemblance.features import HOP_S

CHROMA = 0.75  # share of the chroma in the agreement; the rest are the onsets
COMMON = 90  # percentile of chance agreement that counts as none
WORST = -1.0  # what the least agreement costs, in frames
MORE = 3  # passages of a pair at most; those after the first only where they are rare
RARE = 0.05
SAMPLED = 40  # decoys whose frames tell the chance agreement
DECOYS = 400  # that are aligned with each clip, spread evenly


@dataclass(frozen=True)
class SharedPassage:
    """One aligned passage; spans in seconds."""

    clip: tuple[float, float]
    track: tuple[float, float]
    semitones: int  # how far the track must be moved up to fit the clip, -5 to 6
    similarity: float  # seconds of perfect agreement
    p_value: float


class PassageFinder:
    """Passages of one clip, calibrated on decoys: any tracks that cannot have been copied.

    Without decoys, chance agreement is told from `tracks`, of which few are copied, and every p-value is 1.
    """

    def __init__(self, clip: Arrays, decoys: Sequence[Arrays], tracks: Sequence[Arrays] = ()) -> None:
        self.clip = clip
        self._common = 0.0
        usual = decoys or tracks
        if usual:
            step = max(1, len(usual) // SAMPLED)
            chance = [_agreements(clip, track)[::3].ravel() for track in usual[::step]]
            self._common = float(np.percentile(np.concatenate(chance), COMMON))
        self._null = np.sort([align(self._gains(decoy)).score for decoy in decoys])

    def p_value(self, score: float) -> float:
        """How often a decoy comes as close, counting this one; 1 where there is no decoy."""
        as_close = len(self._null) - int(np.searchsorted(self._null, score, "left"))
        return (1 + as_close) / (1 + len(self._null))

    def passages(self, track: Arrays) -> list[SharedPassage]:
        """The closest passage first; empty where nothing runs alike."""
        gains = self._gains(track)
        found: list[SharedPassage] = []
        while len(found) < MORE:
            best = align(gains)
            p_value = self.p_value(best.score)
            if best.score <= 0 or (found and p_value > RARE):
                break
            found.append(_passage(best, p_value, float(self.clip["seconds"]), float(track["seconds"])))
            gains[:, best.first[0] : best.first[1], :] = WORST  # each second of the clip is told once
        return found

    def _gains(self, track: Arrays) -> np.ndarray:
        scaled = (_agreements(self.clip, track) - self._common) / max(1 - self._common, 1e-3)
        return np.maximum(scaled, WORST)


def _agreements(clip: Arrays, track: Arrays) -> np.ndarray:
    """[12, n, m] in [-1, 1] by transposition; 0 or less where either is quiet."""
    beginnings = 1 - np.abs(clip["onset"][:, None] - track["onset"][None])
    loud = (clip["chroma"].any(1)[:, None] & track["chroma"].any(1)[None]).astype(np.float32)
    pitches = np.stack([agreement(clip["chroma"], track["chroma"], k) for k in SEMITONES])
    return loud * (CHROMA * pitches + (1 - CHROMA) * beginnings)


def _passage(best: Alignment, p_value: float, clip_s: float, track_s: float) -> SharedPassage:
    """In seconds; the last frame of a sound may be longer than what is left of it."""
    return SharedPassage(
        clip=(best.first[0] * HOP_S, min(best.first[1] * HOP_S, clip_s)),
        track=(best.second[0] * HOP_S, min(best.second[1] * HOP_S, track_s)),
        semitones=best.semitones,
        similarity=best.score * HOP_S,
        p_value=p_value,
    )
