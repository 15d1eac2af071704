"""Plans a session: each clip that the host chose, with its strongest tracks, controls and hidden anchors.

Roles of a pair: 'top' (among the k strongest of some method), 'random' (a training track drawn at random), 'decoy'
(never trained on, drawn at random), 'duplicate' (a top track a second time), 'match' (the clip itself).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from explorer.listening_sessions import excerpts
from explorer.listening_sessions.excerpt_starts import WAYS, ExcerptStart, StartChooser, describe_starts
from explorer.listening_sessions.excerpts import LEAST_S, MOST_S, ExcerptLevels
from explorer.listening_sessions.records import (
    CONSENT,
    QUESTIONS,
    Lane,
    LaneScore,
    SessionPlan,
    SessionRefusedError,
    Trial,
)
from explorer.sound.permission import EXCERPT_S, SoundRefusedError
from explorer.state.store_views import StoreViews
from explorer.store.ranking import NORMALISED, rank_clip
from explorer.store.records import ClipRecord, MethodRecord

MOST_K, MOST_CONTROLS, MOST_PAIRS = 20, 10, 400
TITLE_CHARS, CONSENT_CHARS = 120, 2000
_TRIED = 40  # candidates beyond those wanted, before a clip has to do with fewer


@dataclass(frozen=True)
class SessionRequest:
    """The host's form: which clips, methods and controls, and how they are heard."""

    title: str
    clips: tuple[int, ...]
    methods: tuple[str, ...]
    k: int = 3  # strongest tracks of each method
    random: int = 2  # training tracks drawn at random
    decoys: int = 2
    duplicate: bool = True
    match: bool = True
    blind: bool = True
    questions: tuple[str, ...] = tuple(QUESTIONS)
    seconds: float = 5.0  # of every excerpt
    starts: str = "beginning"  # where excerpts begin: one of excerpt_starts.WAYS
    consent: str = CONSENT

    @classmethod
    def parse(cls, fields_sent: object, views: StoreViews) -> SessionRequest:
        """Read and check what the form sent. Raises SessionRefusedError, naming the field."""
        if not isinstance(fields_sent, dict) or not set(fields_sent) <= {field.name for field in fields(cls)}:
            raise SessionRefusedError("that is no session")
        if not {"title", "clips", "methods"} <= set(fields_sent):
            raise SessionRefusedError("a session needs a title, clips and methods")
        for name in ("clips", "methods", "questions"):
            if name in fields_sent and not isinstance(fields_sent[name], list):
                raise SessionRefusedError(f"{name} must be a list")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields_sent.items()}
        request = cls(**values)
        request._check(views)
        return request

    def _check(self, views: StoreViews) -> None:
        for name, text, most in (("title", self.title, TITLE_CHARS), ("consent", self.consent, CONSENT_CHARS)):
            if not isinstance(text, str) or not text.strip() or len(text) > most:
                raise SessionRefusedError(f"{name} must be a text of 1 to {most} characters")
        choices: tuple[tuple[str, tuple[Any, ...], Iterable[Any]], ...] = (
            ("clips", self.clips, [clip.clip_id for clip in list_offered_clips(views)]),
            ("methods", self.methods, [method.name for method in views.methods]),
            ("questions", self.questions, QUESTIONS),
        )
        for name, chosen, known in choices:
            if not chosen or not set(chosen) <= set(known) or len(set(chosen)) < len(chosen):
                raise SessionRefusedError(f"{name}: choose one or more of those that are offered, each once")
        for name, number, most in (("k", self.k, MOST_K), ("random", self.random, MOST_CONTROLS)):
            _check_whole(name, number, most)
        _check_whole("decoys", self.decoys, MOST_CONTROLS)
        if not all(isinstance(flag, bool) for flag in (self.duplicate, self.match, self.blind)):
            raise SessionRefusedError("duplicate, match and blind are on or off")
        if self.starts not in WAYS:
            raise SessionRefusedError(f"starts must be one of {', '.join(WAYS)}")
        seconds = self.seconds
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not LEAST_S <= seconds <= MOST_S:
            raise SessionRefusedError(f"seconds must lie between {LEAST_S:g} and {MOST_S:g}")
        if self.k + self.random + self.decoys == 0:
            raise SessionRefusedError("k, random and decoys are all 0: there is nothing to compare the clips with")
        if not self.blind and (self.duplicate or self.match):
            raise SessionRefusedError("duplicate and match are hidden anchors: an open session cannot hide them")
        if self.duplicate and not self.k:
            raise SessionRefusedError("duplicate repeats one of the strongest tracks: k must be 1 or more")


def _check_whole(name: str, number: object, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise SessionRefusedError(f"{name} must be a whole number of 0 to {most}")


def list_offered_clips(views: StoreViews) -> list[ClipRecord]:
    """Clips that a session may hold: no controls, which are training tracks themselves and would be heard twice."""
    return [clip for clip in views.clips if clip.kind != "track"]


def suggest_seconds(views: StoreViews) -> float:
    """Length of excerpts in seconds that every clip and nine of ten tracks have: at most 10, a multiple of 0.5."""
    heard = views.store.tracks.list_listenable(EXCERPT_S)["heard_s"].to_numpy(dtype=float)
    tracks = float(np.quantile(heard, 0.1)) if len(heard) else MOST_S
    shortest = min([clip.duration_s for clip in list_offered_clips(views)], default=MOST_S)
    return max(LEAST_S, min(10.0, np.floor(2 * min(tracks, shortest)) / 2))


def plan_session(views: StoreViews, request: SessionRequest, seed: int | None = None) -> SessionPlan:
    """Draw the pairs of a session.

    Raises SessionRefusedError where a clip cannot be heard, or the session grows too long.
    """
    seed = secrets.randbits(32) if seed is None else seed
    methods = [method for method in views.methods if method.name in request.methods]
    source = TrialSource(
        views, request, methods, views.store.tracks.list_listenable(EXCERPT_S), np.random.default_rng(seed)
    )
    planned = [TrialPlanner(source, clip_id).plan() for clip_id in request.clips]
    pairs = sum(len(one.trial.pairs) for one in planned)
    if pairs > MOST_PAIRS:
        raise SessionRefusedError(
            f"that makes {pairs} pairs, more than {MOST_PAIRS}: choose fewer clips or a smaller k"
        )
    settings = {
        **asdict(request),
        "seed": seed,
        "left_out": [sentence for one in planned for sentence in one.left_out],
        "begins": describe_starts(
            request.starts,
            [start for one in planned for start in one.top_starts],
            [one.clip_start for one in planned],
        ),
    }
    for name in ("title", "consent", "questions", "blind"):
        del settings[name]
    return SessionPlan(
        title=request.title.strip(),
        blind=request.blind,
        questions=tuple(name for name in QUESTIONS if name in request.questions),
        consent=request.consent.strip(),
        store_key=excerpts.identify_store(views.store),
        trials=tuple(one.trial for one in planned),
        settings=settings,
    )


@dataclass(frozen=True)
class TrialSource:
    """The request, methods, tracks and random numbers from which all trials of a session are drawn."""

    views: StoreViews
    request: SessionRequest
    methods: list[MethodRecord]  # those of the request
    tracks: pd.DataFrame  # of `TrackReader.list_listenable`
    dice: np.random.Generator


@dataclass(frozen=True)
class PlannedTrial:
    """A trial, where its excerpts begin, and what it lacks."""

    trial: Trial
    clip_start: ExcerptStart
    top_starts: list[ExcerptStart]  # of the strongest tracks
    left_out: list[str]  # a sentence for the host about each gap


class TrialPlanner:
    """Chooses and measures the excerpts of one clip's trial."""

    def __init__(self, source: TrialSource, clip_id: int) -> None:
        self._source, self._clip_id = source, clip_id
        self._views, self._request, self._methods = source.views, source.request, source.methods
        self._store, self._dice = source.views.store, source.dice
        self._clip = self._views.clip_by_id[clip_id]
        self._seconds = min(self._request.seconds, self._clip.duration_s)
        self._rankings = {
            method.name: rank_clip(self._store, method.method_id, clip_id, NORMALISED) for method in self._methods
        }
        self._starts = StartChooser(
            self._store, self._request.starts, clip_id, self._methods, self._seconds, self._dice
        )
        self._excerpts: dict[int, tuple[ExcerptStart, ExcerptLevels]] = {}  # by track
        self._unfit: set[int] = set()  # tracks that cannot be heard, are too short or near-silent
        self._chosen: dict[str, list[int]] = {}  # by method name: its strongest tracks that can be heard
        self._left_out: list[str] = []

    def plan(self) -> PlannedTrial:
        """Raises SessionRefusedError where the clip cannot be heard, or nothing can be compared with it."""
        top = self._choose_strongest()
        top_starts = [self._excerpts[track_id][0] for track_id in top]
        self._starts.lend(top_starts)
        clip_sound = self._store.clips.read_sound(self._clip_id)
        clip_start = self._starts.choose_for_clip(clip_sound, top)
        try:
            clip_levels = excerpts.measure_excerpt(self._store, clip_sound, clip_start.start_s, self._seconds)
        except SoundRefusedError as error:
            raise SessionRefusedError(f"clip {self._clip_id} cannot be part of a session: {error}") from error
        order = [("top", track_id) for track_id in top] + self._draw_controls(top)
        if not order:
            raise SessionRefusedError(
                f"clip {self._clip_id} has nothing to be compared with: no track can be heard for {self._seconds:g} s"
            )
        if self._request.duplicate and top:
            order.append(("duplicate", int(self._dice.choice(top))))
        levels = [clip_levels, *(self._excerpts[track_id][1] for _, track_id in order)]
        lanes = self._make_lanes(order, clip_start, excerpts.match_gains(levels))
        channels = min(one.channels for one in levels)
        trial = Trial(self._clip_id, self._clip.prompt or "", self._seconds, channels, lanes)
        return PlannedTrial(trial, clip_start, top_starts, self._left_out)

    def _choose_strongest(self) -> list[int]:
        """The k strongest tracks of every method that can be heard, each track once."""
        for method in self._methods:
            best = self._rankings[method.name].first(self._request.k + _TRIED)
            chosen = _take_first(best, self._request.k, lambda track_id: self._try_track(track_id, is_top=True))
            above = best[: best.index(chosen[-1])] if chosen else best
            passed = [track_id for track_id in above if track_id in self._unfit]
            if self._request.k and passed:
                self._left_out.append(
                    f"Clip {self._clip_id}: {_word_unheard(len(passed))} {method.label} ranks above the last one "
                    "chosen."
                )
            self._chosen[method.name] = chosen
        return list(dict.fromkeys(track_id for ids in self._chosen.values() for track_id in ids))

    def _draw_controls(self, top: list[int]) -> list[tuple[str, int]]:
        """(role, track id) of random tracks and decoys that all methods scored, of other works than `top`."""
        tracks = self._source.tracks
        scored = set.intersection(*(set(ranking.track_id.tolist()) for ranking in self._rankings.values()))
        works = set(tracks.loc[tracks["track_id"].isin(top), "work_id"])
        free = tracks[
            tracks["track_id"].isin(scored)
            & ~tracks["work_id"].isin(works)
            & (tracks["heard_s"] >= self._seconds)
            & tracks["planted"].isna()
        ]
        controls: list[tuple[str, int]] = []
        ranking = self._rankings[self._methods[0].name]
        decoys = free["track_id"].isin(ranking.track_id[ranking.is_decoy])  # of this clip's own model
        for role, is_decoy, count in (("random", False, self._request.random), ("decoy", True, self._request.decoys)):
            pool = free.loc[decoys == is_decoy, "track_id"].to_numpy()
            drawn = self._dice.permutation(pool)[: count + _TRIED].tolist()
            chosen = _take_first(drawn, count, self._try_track)
            if len(chosen) < count:
                self._left_out.append(
                    f"Clip {self._clip_id}: only {len(chosen)} of {count} {role} controls can be heard."
                )
            controls += [(role, track_id) for track_id in chosen]
        return controls

    def _try_track(self, track_id: int, is_top: bool = False) -> bool:
        """Choose and measure the track's excerpt, once; False where it cannot be heard."""
        if track_id not in self._excerpts and track_id not in self._unfit:
            sound = self._store.tracks.read_sound(track_id)
            start = self._starts.choose_for_top(track_id, sound) if is_top else self._starts.choose_for_control(sound)
            try:
                levels = excerpts.measure_excerpt(self._store, sound, start.start_s, self._seconds)
                self._excerpts[track_id] = (start, levels)
            except SoundRefusedError:
                self._unfit.add(track_id)
        return track_id in self._excerpts

    def _make_lanes(
        self, order: list[tuple[str, int]], clip_start: ExcerptStart, gains_db: list[float]
    ) -> tuple[Lane, ...]:
        """The clip, the pairs of `order`, then the clip again where it is a hidden anchor. `gains_db`: clip first."""
        lanes = [Lane("clip", None, "", "", clip_start.start_s, gains_db[0])]
        for (role, track_id), gain_db in zip(order, gains_db[1:], strict=True):
            track, start = self._store.tracks.read(track_id), self._excerpts[track_id][0]
            scores = tuple(self._read_score(method, track_id) for method in self._methods)
            lanes.append(Lane(role, track_id, track.title, track.composer, start.start_s, gain_db, scores))
        if self._request.match:
            lanes.append(Lane("match", None, "the clip itself", "", clip_start.start_s, gains_db[0]))
        return tuple(lanes)

    def _read_score(self, method: MethodRecord, track_id: int) -> LaneScore:
        """Raises SessionRefusedError where this method did not score the track."""
        rows = self._store.scores.read_rows(method.method_id, self._clip_id, [track_id])
        ranking = self._rankings[method.name]
        i = ranking.index(track_id)
        if i is None or rows.empty:
            raise SessionRefusedError(
                f"{method.label} did not score track {track_id} for clip {self._clip_id}: choose fewer methods"
            )
        row, is_decoy = rows.iloc[0], bool(ranking.is_decoy[i])
        q_value = float(row["q_value"])
        return LaneScore(
            method=method.name,
            label=method.label,
            score=float(row["score"]),
            score_norm=float(row["score_norm"]),
            q_value=None if math.isnan(q_value) else q_value,
            above_noise=bool(row["above_noise"]),
            place=None if is_decoy else int(ranking.place[i]),
            chosen=track_id in self._chosen[method.name],
            place_best=None if is_decoy else int(ranking.intervals.best[i]),
            place_worst=None if is_decoy else int(ranking.intervals.worst[i]),
        )


def _take_first(ids: Iterable[int], count: int, fits: Callable[[int], bool]) -> list[int]:
    """The first `count` that fit; no more are tried."""
    chosen: list[int] = []
    for track_id in ids:
        if len(chosen) == count:
            break
        if fits(track_id):
            chosen.append(track_id)
    return chosen


def _word_unheard(count: int) -> str:
    if count == 1:
        return "1 track cannot be heard (or is too short, or near-silent) that"
    return f"{count} tracks cannot be heard (or are too short, or near-silent) that"
