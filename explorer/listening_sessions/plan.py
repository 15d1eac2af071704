"""What a host asks for -> the pairs of a session: each clip with its strongest tracks, controls and anchors.

Roles of a pair: 'top' (among the k strongest of some method), 'random' (a training track drawn at random), 'decoy'
(never trained on, drawn at random), 'duplicate' (a top track a second time), 'match' (the clip itself).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from explorer.listening_sessions import excerpts
from explorer.listening_sessions.excerpt_starts import WAYS, ExcerptStart, StartChooser, told
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
from explorer.sound.audio import EXCERPT_S, SoundRefusedError
from explorer.state.callbacks import Callbacks
from explorer.store.ranking import NORMALISED, Ranking, rank_clip
from explorer.store.records import ClipRecord, MethodRecord

MOST_K, MOST_CONTROLS, MOST_PAIRS = 20, 10, 400
TITLE_CHARS, CONSENT_CHARS = 120, 2000
_TRIED = 40  # candidates beyond those wanted, before a clip has to do with fewer


@dataclass(frozen=True)
class SessionRequest:
    """What the host's form sends. `of` raises SessionRefusedError, naming the field."""

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
    starts: str = "beginning"  # where excerpts begin: one of starts.WAYS
    consent: str = CONSENT

    @classmethod
    def of(cls, asked: object, callbacks: Callbacks) -> SessionRequest:
        if not isinstance(asked, dict) or not set(asked) <= {field.name for field in fields(cls)}:
            raise SessionRefusedError("that is no session")
        if not {"title", "clips", "methods"} <= set(asked):
            raise SessionRefusedError("a session needs a title, clips and methods")
        for name in ("clips", "methods", "questions"):
            if name in asked and not isinstance(asked[name], list):
                raise SessionRefusedError(f"{name} must be a list")
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in asked.items()}
        wanted = cls(**given)
        wanted._check(callbacks)
        return wanted

    def _check(self, callbacks: Callbacks) -> None:
        for name, text, most in (("title", self.title, TITLE_CHARS), ("consent", self.consent, CONSENT_CHARS)):
            if not isinstance(text, str) or not text.strip() or len(text) > most:
                raise SessionRefusedError(f"{name} must be a text of 1 to {most} characters")
        choices: tuple[tuple[str, tuple[Any, ...], Iterable[Any]], ...] = (
            ("clips", self.clips, [clip.clip_id for clip in offered(callbacks)]),
            ("methods", self.methods, [method.name for method in callbacks.methods]),
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


def offered(callbacks: Callbacks) -> list[ClipRecord]:
    """Clips that a session may hold. Controls are training tracks themselves: a listener would hear a track twice."""
    return [clip for clip in callbacks.clips if clip.kind != "track"]


def usual_seconds(callbacks: Callbacks) -> float:
    """A length that every clip and nine of ten tracks have, at most 10 s; a multiple of 0.5 s."""
    heard = callbacks.store.listenable(EXCERPT_S)["heard_s"].to_numpy(dtype=float)
    tracks = float(np.quantile(heard, 0.1)) if len(heard) else MOST_S
    shortest = min([clip.duration_s for clip in offered(callbacks)], default=MOST_S)
    return max(LEAST_S, min(10.0, np.floor(2 * min(tracks, shortest)) / 2))


def make(callbacks: Callbacks, wanted: SessionRequest, seed: int | None = None) -> SessionPlan:
    """Draws the pairs. Raises SessionRefusedError where a clip cannot be heard, or the session grows too long."""
    seed = secrets.randbits(32) if seed is None else seed
    dice = np.random.default_rng(seed)
    tracks = callbacks.store.listenable(EXCERPT_S)
    left_out: list[str] = []
    begun: list[tuple[ExcerptStart, list[ExcerptStart]]] = []  # of each clip, and of its strongest tracks
    methods = [method for method in callbacks.methods if method.name in wanted.methods]
    trials = [_trial(callbacks, wanted, methods, clip_id, tracks, dice, left_out, begun) for clip_id in wanted.clips]
    pairs = sum(len(trial.pairs) for trial in trials)
    if pairs > MOST_PAIRS:
        raise SessionRefusedError(
            f"that makes {pairs} pairs, more than {MOST_PAIRS}: choose fewer clips or a smaller k"
        )
    begins = told(wanted.starts, [one for _, tops in begun for one in tops], [clip for clip, _ in begun])
    settings = {**asdict(wanted), "seed": seed, "left_out": left_out, "begins": begins}
    for name in ("title", "consent", "questions", "blind"):
        del settings[name]
    key = excerpts.store_key(callbacks.store)
    title, consent = wanted.title.strip(), wanted.consent.strip()
    questions = tuple(name for name in QUESTIONS if name in wanted.questions)
    return SessionPlan(title, wanted.blind, questions, consent, key, tuple(trials), settings)


def _trial(
    callbacks: Callbacks,
    wanted: SessionRequest,
    methods: list[MethodRecord],
    clip_id: int,
    tracks: pd.DataFrame,
    dice: np.random.Generator,
    left_out: list[str],
    begun: list[tuple[ExcerptStart, list[ExcerptStart]]],
) -> Trial:
    """`tracks`: of `Store.listenable`. What had to be left out is told in `left_out`, a sentence each; `begun` takes
    where the clip and its strongest tracks begin.
    """
    store, clip = callbacks.store, callbacks.clip_by_id[clip_id]
    seconds = min(wanted.seconds, clip.duration_s)
    rankings = {method.name: rank_clip(store, method.method_id, clip_id, NORMALISED) for method in methods}

    starts = StartChooser(store, wanted.starts, clip_id, methods, seconds, dice)
    heard: dict[int, tuple[ExcerptStart, ExcerptLevels]] = {}
    unfit: set[int] = set()

    def fits(track_id: int, top: bool = False) -> bool:
        if track_id not in heard and track_id not in unfit:
            sound = store.track_sound(track_id)
            start = starts.of_top(track_id, sound) if top else starts.of_control(sound)
            try:
                heard[track_id] = (start, excerpts.measure(store, sound, start.start_s, seconds))
            except SoundRefusedError:
                unfit.add(track_id)
        return track_id in heard

    chosen: dict[str, list[int]] = {}
    for method in methods:
        best = rankings[method.name].first(wanted.k + _TRIED)
        chosen[method.name] = _take(best, wanted.k, lambda track_id: fits(track_id, top=True))
        passed = [i for i in best[: best.index(chosen[method.name][-1]) if chosen[method.name] else None] if i in unfit]
        if wanted.k and passed:
            left_out.append(f"Clip {clip_id}: {_tracks(len(passed))} {method.label} ranks above the last one chosen.")
    top = list(dict.fromkeys(track_id for ids in chosen.values() for track_id in ids))
    starts.lend([heard[track_id][0] for track_id in top])
    clip_sound = store.clip_sound(clip_id)
    clip_start = starts.of_clip(clip_sound, top)
    begun.append((clip_start, [heard[track_id][0] for track_id in top]))
    try:
        of_clip = excerpts.measure(store, clip_sound, clip_start.start_s, seconds)
    except SoundRefusedError as error:
        raise SessionRefusedError(f"clip {clip_id} cannot be part of a session: {error}") from error
    scored = set.intersection(*(set(ranking.track_id.tolist()) for ranking in rankings.values()))
    works = set(tracks.loc[tracks["track_id"].isin(top), "work_id"])
    free = tracks[tracks["track_id"].isin(scored) & ~tracks["work_id"].isin(works) & (tracks["heard_s"] >= seconds)]
    controls: dict[str, list[int]] = {}
    for role, is_decoy, count in (("random", False, wanted.random), ("decoy", True, wanted.decoys)):
        pool = free.loc[(free["is_decoy"] == is_decoy) & free["planted"].isna(), "track_id"].to_numpy()
        drawn = dice.permutation(pool)[: count + _TRIED].tolist()
        controls[role] = _take(drawn, count, fits)
        if len(controls[role]) < count:
            left_out.append(f"Clip {clip_id}: only {len(controls[role])} of {count} {role} controls can be heard.")
    order = [("top", i) for i in top] + [(role, i) for role, ids in controls.items() for i in ids]
    if not order:
        raise SessionRefusedError(
            f"clip {clip_id} has nothing to be compared with: no track can be heard for {seconds:g} s"
        )
    if wanted.duplicate and top:
        order.append(("duplicate", int(dice.choice(top))))
    measured = [of_clip, *(heard[i][1] for _, i in order)]
    gain = excerpts.gains(measured)
    prompt = clip.prompt or ""
    lanes = [Lane("clip", None, "", "", clip_start.start_s, gain[0])]
    for (role, track_id), gain_db in zip(order, gain[1:], strict=True):
        track = store.track(track_id)
        scores = tuple(_score(callbacks, m, clip_id, track_id, rankings[m.name], chosen[m.name]) for m in methods)
        lanes.append(Lane(role, track_id, track.title, track.composer, heard[track_id][0].start_s, gain_db, scores))
    if wanted.match:
        lanes.append(Lane("match", None, "the clip itself", "", clip_start.start_s, gain[0]))
    return Trial(clip_id, prompt, seconds, min(one.channels for one in measured), tuple(lanes))


def _take(ids: Iterable[int], count: int, fits: Callable[[int], bool]) -> list[int]:
    """The first `count` that fit; no more are tried."""
    taken: list[int] = []
    for track_id in ids:
        if len(taken) == count:
            break
        if fits(track_id):
            taken.append(track_id)
    return taken


def _tracks(count: int) -> str:
    return (
        "1 track cannot be heard (or is too short, or near-silent) that"
        if count == 1
        else (f"{count} tracks cannot be heard (or are too short, or near-silent) that")
    )


def _score(
    callbacks: Callbacks, method: MethodRecord, clip_id: int, track_id: int, ranking: Ranking, chosen: list[int]
) -> LaneScore:
    """Raises SessionRefusedError where this method did not score the track."""
    rows = callbacks.store.scores_of(method.method_id, clip_id, [track_id])
    i = ranking.index(track_id)
    if i is None or rows.empty:
        raise SessionRefusedError(
            f"{method.label} did not score track {track_id} for clip {clip_id}: choose fewer methods"
        )
    row = rows.iloc[0]
    place = None if ranking.is_decoy[i] else int(ranking.place[i])
    numbers = (float(row["score"]), float(row["score_norm"]), float(row["q_value"]), bool(row["above_noise"]))
    return LaneScore(method.name, method.label, *numbers, place, track_id in chosen)
