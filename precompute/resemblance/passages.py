"""Shared passages: spans of a clip and a track that run alike, frame by frame, in the best transposition.

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
from precompute.resemblance.alignment import SEMITONES, Alignment, align, compare_frames
from precompute.resemblance.features import HOP_S

CHROMA = 0.75  # share of the chroma in the agreement; the rest are the onsets
COMMON_PERCENTILE = 90  # percentile of chance agreement that counts as none
LEAST_GAIN = -1.0  # frames; of the least agreement
MOST_PASSAGES = 3  # passages of a pair at most; those after the first only where they are rare
RARE = 0.05  # p-value up to which a passage is rare
SAMPLED = 40  # decoys from whose frames the chance agreement is taken
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
    """Finds passages of one clip in tracks, calibrated on decoys: tracks that cannot have been copied.

    Without decoys, chance agreement is taken from `tracks`, of which few are copied, and every p-value is 1.
    """

    def __init__(self, clip: Arrays, decoys: Sequence[Arrays], tracks: Sequence[Arrays] = ()) -> None:
        """Calibrate on decoys (else on `tracks`); features as `describe` gives them."""
        self.clip = clip
        self._common = 0.0  # agreement that counts as chance
        references = decoys or tracks
        if references:
            step = max(1, len(references) // SAMPLED)
            chance = [_compute_agreements(clip, track)[::3].ravel() for track in references[::step]]
            self._common = float(np.percentile(np.concatenate(chance), COMMON_PERCENTILE))
        self._null = np.sort([align(self._compute_gains(decoy)).score for decoy in decoys])

    def compute_p_value(self, score: float) -> float:
        """Share of decoys that come as close, the track counted among them; 1 where there is no decoy."""
        as_close = len(self._null) - int(np.searchsorted(self._null, score, "left"))
        return (1 + as_close) / (1 + len(self._null))

    def find_passages(self, track: Arrays) -> list[SharedPassage]:
        """Passages of the clip in a track, the closest first; empty where nothing runs alike."""
        gains = self._compute_gains(track)
        passages: list[SharedPassage] = []
        while len(passages) < MOST_PASSAGES:
            best = align(gains)
            p_value = self.compute_p_value(best.score)
            if best.score <= 0 or (passages and p_value > RARE):
                break
            passages.append(_convert_to_seconds(best, p_value, float(self.clip["seconds"]), float(track["seconds"])))
            gains[:, best.first[0] : best.first[1], :] = LEAST_GAIN  # each second of the clip is in one passage at most
        return passages

    def _compute_gains(self, track: Arrays) -> np.ndarray:
        """[12, n, m] from LEAST_GAIN to 1; 0 = chance agreement."""
        scaled = (_compute_agreements(self.clip, track) - self._common) / max(1 - self._common, 1e-3)
        return np.maximum(scaled, LEAST_GAIN)


def _compute_agreements(clip: Arrays, track: Arrays) -> np.ndarray:
    """Agreement of every pair of frames by transposition, [12, n, m] in [-1, 1]; 0 or less where either is quiet."""
    beginnings = 1 - np.abs(clip["onset"][:, None] - track["onset"][None])
    loud = (clip["chroma"].any(1)[:, None] & track["chroma"].any(1)[None]).astype(np.float32)
    pitches = np.stack([compare_frames(clip["chroma"], track["chroma"], k) for k in SEMITONES])
    return loud * (CHROMA * pitches + (1 - CHROMA) * beginnings)


def _convert_to_seconds(best: Alignment, p_value: float, clip_s: float, track_s: float) -> SharedPassage:
    """An alignment in seconds; ends are cut to the sounds' lengths, which the last frame may exceed."""
    return SharedPassage(
        clip=(best.first[0] * HOP_S, min(best.first[1] * HOP_S, clip_s)),
        track=(best.second[0] * HOP_S, min(best.second[1] * HOP_S, track_s)),
        semitones=best.semitones,
        similarity=best.score * HOP_S,
        p_value=p_value,
    )
