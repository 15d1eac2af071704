"""Pairs of clip and track with all that a rights holder asks about them; for the tab Holders and for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from explorer.sound.permission import measure_heard
from explorer.store import Store
from explorer.store.records import ClipRecord, TrackClaim, TrackRecord
from explorer.text.claims import classify_pair, label_pair

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
    places: tuple[int, int]  # the best and worst that it may hold by its error; of a decoy, those of such a track
    score: float
    std_error: float
    score_norm: float
    std_error_norm: float
    match_bin: int
    silent: bool  # decoys of its match bin are too few for even a lone track to be found
    p_value: float | None  # None: nothing is said
    q_value: float | None
    above_noise: bool  # it shaped this clip
    claim: TrackClaim | None  # whether the track shaped the model
    clip_at: tuple[float, float] | None  # the window of the clip that draws most from the track
    track_at: tuple[float, float] | None  # the moment of the track that matters most for the clip

    @property
    def kind(self) -> str:
        """A kind of text/claims.py: what may be said of the pair."""
        return classify_pair(self.place is None, self.above_noise, self.p_value, self.silent)

    @property
    def badge(self) -> str:
        """Say in a few words whether the track shaped the clip."""
        return label_pair(self.kind, self.match_bin)

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
    tracks = store.tracks.read_many(ids)
    rows = [row for row in rows if row["track_id"] in tracks]
    facts = _TrackFacts(
        store.holders.read_parties(ids),
        store.tracks.count_renderings(ids),
        store.claims.read_of_tracks(method_id, ids),
        store.claims.list_silent(method_id),
    )
    places = _find_places(store, method_id, rows)
    return [
        _make_pair(row, clips[row["clip_id"]], tracks[row["track_id"]], facts, at)
        for row, at in zip(rows, places, strict=True)
    ]


class _TrackFacts(NamedTuple):
    """Facts shared by pairs: those of a track by its id, those of a match bin by clip and bin."""

    parties: Mapping[int, list[tuple[str, str]]]
    renderings: Mapping[int, int]
    claims: Mapping[int, TrackClaim]
    silent: frozenset[tuple[int, int]]  # (clip, match bin)


def _find_places(store: Store, method_id: int, rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """The best and the worst place that each pair may hold in its clip, by normalised score."""
    score, error = (np.array([row[name] for row in rows], float) for name in ("score_norm", "std_error_norm"))
    clips, trained = (
        np.array([row["clip_id"] for row in rows], int),
        np.array([row["place"] is not None for row in rows]),
    )
    found = store.scores.place_pairs(method_id, clips, score, error, trained)
    return [(int(best), int(worst)) for best, worst in zip(*found, strict=True)]


def _make_pair(
    row: Mapping[str, Any], clip: ClipRecord, track: TrackRecord, facts: _TrackFacts, places: tuple[int, int]
) -> PairDetails:
    names = (
        "place",
        "score",
        "std_error",
        "score_norm",
        "std_error_norm",
        "match_bin",
        "p_value",
        "q_value",
        "above_noise",
    )
    return PairDetails(
        clip=clip,
        track=track,
        parties=tuple(facts.parties.get(track.track_id, ())),
        renderings=facts.renderings.get(track.track_id, 1),
        places=places,
        silent=(clip.clip_id, row["match_bin"]) in facts.silent,
        claim=facts.claims.get(track.track_id),
        clip_at=find_strongest(row["windows"], row["window_s"], clip.duration_s),
        track_at=find_strongest(row["moments"], row["rate_hz"] and 1 / row["rate_hz"], track.duration_s, MOMENT_S),
        **{name: row[name] for name in names},
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
