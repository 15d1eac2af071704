"""Where the excerpts of a trial begin, seconds from the beginning of the sound.

'beginning': all at 0. 'anywhere': drawn evenly. 'strongest': each of the strongest tracks where its influence on this
clip is strongest over the excerpt's length (table `moments`), or at its loudest part where the store keeps no moments
of the pair; the clip where these tracks together draw on it most (`clip_moments`), else at 0. Moments are kept of few
tracks, so a control has none: it borrows the rule, and the part of its length, of one of the strongest tracks, drawn
at random. Places in the piece are then spread alike in both, and do not tell which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorer.sound.audio import heard_s
from explorer.store.database import Store
from explorer.store.records import MethodRecord, SoundRecord

WAYS = ("beginning", "anywhere", "strongest")


@dataclass(frozen=True)
class ExcerptStart:
    start_s: float
    rule: str  # 'beginning', 'anywhere', 'moment' or 'loudest'
    part: float = 0.0  # of what it could have been, 0..1


def best_start(values: Sequence[float] | np.ndarray, step_s: float, seconds: float, room_s: float) -> float | None:
    """The start within [0, room_s] of the `seconds` with the largest sum; None where no such sum is above zero.

    Value i covers [i, i + 1) * step_s and counts by the part of it that is inside; the earliest start of equal ones.
    """
    edges = np.arange(len(values) + 1) * step_s
    # Between two of these the sum goes straight, so the largest lies at one of them.
    places = np.concatenate([[0.0, room_s], edges, edges - seconds])
    places = np.unique(places[(places >= 0) & (places <= room_s)])
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    sums = np.interp(places + seconds, edges, total) - np.interp(places, edges, total)
    largest = sums.max()
    if not largest > 0:
        return None
    return float(places[np.flatnonzero(sums >= largest - 1e-9 * abs(largest))[0]])


class StartChooser:
    """Of one trial. What it draws comes from `dice`."""

    def __init__(
        self,
        store: Store,
        way: str,
        clip_id: int,
        methods: Sequence[MethodRecord],
        seconds: float,
        dice: np.random.Generator,
    ) -> None:
        self._store, self._way, self._clip_id, self._methods = store, way, clip_id, methods
        self._seconds, self._dice = seconds, dice
        self._lent: list[ExcerptStart] = []

    def of_top(self, track_id: int, sound: SoundRecord) -> ExcerptStart:
        if self._way != "strongest":
            return self._plain(sound)
        room = self._room(sound)
        for method in self._methods:
            moments = self._store.moments(method.method_id, self._clip_id, track_id)
            if moments is not None:
                found = best_start(moments.influence, 1 / moments.rate_hz, self._seconds, room)
                if found is not None:
                    return _start(found, "moment", room)
        return self._loudest(sound)

    def lend(self, starts: Sequence[ExcerptStart]) -> None:
        """What controls may borrow: the starts of the strongest tracks that are heard."""
        self._lent = list(starts)

    def of_control(self, sound: SoundRecord) -> ExcerptStart:
        if self._way != "strongest":
            return self._plain(sound)
        if not self._lent:
            return self._loudest(sound)
        like = self._lent[int(self._dice.integers(len(self._lent)))]
        room = self._room(sound)
        return self._loudest(sound) if like.rule == "loudest" else _start(like.part * room, "moment", room)

    def of_clip(self, sound: SoundRecord, top: Sequence[int]) -> ExcerptStart:
        """`top`: the strongest tracks of the trial."""
        if self._way != "strongest":
            return self._plain(sound)
        room = self._room(sound)
        for method in self._methods:
            kept = self._store.clip_moments(method.method_id, self._clip_id, top)
            if kept:
                total = np.sum(list(kept.influence.values()), axis=0)
                found = best_start(total, kept.window_s, self._seconds, room)
                if found is not None:
                    return _start(found, "moment", room)
        return ExcerptStart(0.0, "beginning")

    def _plain(self, sound: SoundRecord) -> ExcerptStart:
        if self._way == "beginning":
            return ExcerptStart(0.0, "beginning")
        room = self._room(sound)
        return _start(float(self._dice.uniform(0, room)), "anywhere", room)

    def _loudest(self, sound: SoundRecord) -> ExcerptStart:
        """By the energy of the waveform's stored peaks."""
        room = self._room(sound)
        squares = np.asarray(sound.peaks, dtype=float) ** 2
        found = best_start(squares, sound.duration_s / len(squares), self._seconds, room) if len(squares) else None
        return _start(found or 0.0, "loudest", room)

    def _room(self, sound: SoundRecord) -> float:
        return max(0.0, heard_s(sound) - self._seconds)


def _start(start_s: float, rule: str, room_s: float) -> ExcerptStart:
    start_s = min(round(start_s, 3), room_s)
    return ExcerptStart(start_s, rule, start_s / room_s if room_s > 0 else 0.0)


def told(way: str, tops: Sequence[ExcerptStart], clips: Sequence[ExcerptStart]) -> str:
    """One sentence for the host about where the excerpts of a session begin."""
    if way == "beginning":
        return "Excerpts begin at the beginning."
    if way == "anywhere":
        return "Excerpts begin anywhere, drawn at random."
    moments, clip_moments = (sum(one.rule == "moment" for one in starts) for starts in (tops, clips))
    return (
        f"Of {len(tops)} excerpts of strongest tracks, {moments} begin where their influence is strongest and "
        f"{len(tops) - moments} at their loudest part, as the store keeps no moments of them; controls begin at places "
        f"borrowed from these. {clip_moments} of {len(clips)} clips begin where the strongest tracks together draw on "
        "them most, the others at the beginning."
    )
