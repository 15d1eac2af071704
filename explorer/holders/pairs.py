"""One track that comes up for one clip, with all that a rights holder asks of it. Used by the page and by reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.sound.permission import measure_heard
from explorer.store import Store
from explorer.store.records import ClipRecord, TrackRecord

MOMENT_S = 1.5  # at least: what is played of a moment


@dataclass(frozen=True)
class PairDetails:
    """Scores: higher = stronger influence. Spans in seconds; None where the run kept none, or nothing is positive."""

    clip: ClipRecord
    track: TrackRecord
    parties: tuple[tuple[str, str], ...]  # (name, role) of all who hold rights in the track or made it
    renderings: int  # training tracks of its work, itself included
    place: int | None  # among the training tracks of this clip; None: a decoy
    score: float
    std_error: float
    score_norm: float
    std_error_norm: float
    q_value: float
    above_noise: bool
    clip_at: tuple[float, float] | None  # the window of the clip that draws most from the track
    track_at: tuple[float, float] | None  # the moment of the track that matters most for the clip

    @property
    def people(self) -> str:
        """'Clara Schumann (composer) · Label (label)'."""
        return " · ".join(f"{name} ({role})" for name, role in self.parties)


def read_pairs(
    store: Store, clips: Mapping[int, ClipRecord], method_id: int, pairs: Sequence[tuple[int, int]]
) -> list[PairDetails]:
    """(clip, track) ids -> pairs, in order; one whose clip or score the store has not is left out."""
    found = [row for row in store.scores.read_pairs(method_id, pairs) if row["clip_id"] in clips]
    ids = sorted({row["track_id"] for row in found})
    tracks, parties, renderings = (
        store.tracks.read_many(ids),
        store.holders.read_parties(ids),
        store.tracks.count_renderings(ids),
    )
    return [
        _pair(row, clips[row["clip_id"]], tracks[row["track_id"]], parties, renderings)
        for row in found
        if row["track_id"] in tracks
    ]


def _pair(
    row: Mapping[str, Any],
    clip: ClipRecord,
    track: TrackRecord,
    parties: Mapping[int, Any],
    renderings: Mapping[int, int],
) -> PairDetails:
    scores = ("place", "score", "std_error", "score_norm", "std_error_norm", "q_value", "above_noise")
    return PairDetails(
        clip=clip,
        track=track,
        parties=tuple(parties.get(track.track_id, ())),
        renderings=renderings.get(track.track_id, 1),
        clip_at=strongest(row["windows"], row["window_s"], clip.duration_s),
        track_at=strongest(row["moments"], row["rate_hz"] and 1 / row["rate_hz"], track.duration_s, MOMENT_S),
        **{name: row[name] for name in scores},
    )


def strongest(
    influence: Sequence[float] | None, step_s: float | None, length_s: float, least_s: float = 0.0
) -> tuple[float, float] | None:
    """From where to where the largest positive value lies; value i covers [i, i + 1) * step_s seconds.

    Made at least `least_s` long where the whole is, starting where the value does; None where nothing is positive.
    """
    if not influence or not step_s or max(influence) <= 0:
        return None
    from_s = list(influence).index(max(influence)) * step_s
    to_s = min(length_s, from_s + max(step_s, least_s))
    from_s = max(0.0, min(from_s, to_s - least_s))
    return (round(from_s, 3), round(to_s, 3)) if to_s > from_s else None


def audible(track: TrackRecord, at: tuple[float, float] | None) -> bool:
    """Whether a listener may hear this span of the track: the rule of `audition`, and audio at hand."""
    if at is None or not track.has_audio or track.audition == "none":
        return False
    return at[1] <= measure_heard(track) + 1e-6
