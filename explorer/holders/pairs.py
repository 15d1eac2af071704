"""Pairs of clip and track with all that a rights holder asks about them; for the tab Holders and for reports."""

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
    """One track that comes up for one clip.

    Scores: higher = stronger influence. Spans in seconds; None where the run stored none, or nothing is positive.
    """

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
    """The pairs of these (clip, track) ids, in order; pairs without a clip or score in the store are left out."""
    rows = [row for row in store.scores.read_pairs(method_id, pairs) if row["clip_id"] in clips]
    ids = sorted({row["track_id"] for row in rows})
    tracks, parties, renderings = (
        store.tracks.read_many(ids),
        store.holders.read_parties(ids),
        store.tracks.count_renderings(ids),
    )
    return [
        _make_pair(row, clips[row["clip_id"]], tracks[row["track_id"]], parties, renderings)
        for row in rows
        if row["track_id"] in tracks
    ]


def _make_pair(
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
        clip_at=find_strongest(row["windows"], row["window_s"], clip.duration_s),
        track_at=find_strongest(row["moments"], row["rate_hz"] and 1 / row["rate_hz"], track.duration_s, MOMENT_S),
        **{name: row[name] for name in scores},
    )


def find_strongest(
    influence: Sequence[float] | None, step_s: float | None, length_s: float, least_s: float = 0.0
) -> tuple[float, float] | None:
    """(from, to) in seconds of the largest positive value; value i covers [i, i + 1) * step_s seconds.

    At least `least_s` long where the whole is, starting where the value does; None where nothing is positive.
    """
    if not influence or not step_s or max(influence) <= 0:
        return None
    from_s = list(influence).index(max(influence)) * step_s
    to_s = min(length_s, from_s + max(step_s, least_s))
    from_s = max(0.0, min(from_s, to_s - least_s))
    return (round(from_s, 3), round(to_s, 3)) if to_s > from_s else None


def is_audible(track: TrackRecord, at: tuple[float, float] | None) -> bool:
    """True where a listener may hear this span of the track: by its `audition`, and its audio is in this copy."""
    if at is None or not track.has_audio or track.audition == "none":
        return False
    return at[1] <= measure_heard(track) + 1e-6
