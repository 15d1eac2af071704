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

from explorer.sound.permission import measure_heard
from explorer.store import Store
from explorer.store.records import MethodRecord, SoundRecord

WAYS = ("beginning", "anywhere", "strongest")


@dataclass(frozen=True)
class ExcerptStart:
    """Where an excerpt begins, and why."""

    start_s: float
    rule: str  # 'beginning', 'anywhere', 'moment' or 'loudest'
    part: float = 0.0  # start_s as a part of the latest possible start, 0..1


def find_best_start(values: Sequence[float] | np.ndarray, step_s: float, seconds: float, room_s: float) -> float | None:
    """The start within [0, room_s] of the `seconds` with the largest sum; None where no such sum is above zero.

    Value i covers [i, i + 1) * step_s and counts by the part of it that is inside; the earliest start of equal ones.
    """
    edges = np.arange(len(values) + 1) * step_s
    # Between two neighbours of these the sum is linear in the start, so its maximum lies at one of them.
    places = np.concatenate([[0.0, room_s], edges, edges - seconds])
    places = np.unique(places[(places >= 0) & (places <= room_s)])
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    sums = np.interp(places + seconds, edges, total) - np.interp(places, edges, total)
    largest = sums.max()
    if not largest > 0:
        return None
    return float(places[np.flatnonzero(sums >= largest - 1e-9 * abs(largest))[0]])


class StartChooser:
    """Chooses where the excerpts of one trial begin; random choices come from `dice`."""

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

    def choose_for_top(self, track_id: int, sound: SoundRecord) -> ExcerptStart:
        """Start of one of the strongest tracks."""
        if self._way != "strongest":
            return self._choose_plain(sound)
        room = self._latest_start(sound)
        for method in self._methods:
            moments = self._store.scores.read_moments(method.method_id, self._clip_id, track_id)
            if moments is not None:
                best = find_best_start(moments.influence, 1 / moments.rate_hz, self._seconds, room)
                if best is not None:
                    return _round_start(best, "moment", room)
        return self._choose_loudest(sound)

    def lend(self, starts: Sequence[ExcerptStart]) -> None:
        """Give the starts of the strongest tracks, which `choose_for_control` borrows from."""
        self._lent = list(starts)

    def choose_for_control(self, sound: SoundRecord) -> ExcerptStart:
        """Start of a control, borrowed from one of the strongest tracks where the rule is 'strongest'."""
        if self._way != "strongest":
            return self._choose_plain(sound)
        if not self._lent:
            return self._choose_loudest(sound)
        like = self._lent[int(self._dice.integers(len(self._lent)))]
        room = self._latest_start(sound)
        return self._choose_loudest(sound) if like.rule == "loudest" else _round_start(like.part * room, "moment", room)

    def choose_for_clip(self, sound: SoundRecord, top: Sequence[int]) -> ExcerptStart:
        """Start of the clip. `top`: ids of the strongest tracks of the trial."""
        if self._way != "strongest":
            return self._choose_plain(sound)
        room = self._latest_start(sound)
        for method in self._methods:
            moments = self._store.scores.read_clip_moments(method.method_id, self._clip_id, top)
            if moments:
                total = np.sum(list(moments.influence.values()), axis=0)
                best = find_best_start(total, moments.window_s, self._seconds, room)
                if best is not None:
                    return _round_start(best, "moment", room)
        return ExcerptStart(0.0, "beginning")

    def _choose_plain(self, sound: SoundRecord) -> ExcerptStart:
        if self._way == "beginning":
            return ExcerptStart(0.0, "beginning")
        room = self._latest_start(sound)
        return _round_start(float(self._dice.uniform(0, room)), "anywhere", room)

    def _choose_loudest(self, sound: SoundRecord) -> ExcerptStart:
        """The start with the most energy, by the stored peaks of the waveform."""
        room = self._latest_start(sound)
        squares = np.asarray(sound.peaks, dtype=float) ** 2
        best = find_best_start(squares, sound.duration_s / len(squares), self._seconds, room) if len(squares) else None
        return _round_start(best or 0.0, "loudest", room)

    def _latest_start(self, sound: SoundRecord) -> float:
        return max(0.0, measure_heard(sound) - self._seconds)


def _round_start(start_s: float, rule: str, room_s: float) -> ExcerptStart:
    start_s = min(round(start_s, 3), room_s)
    return ExcerptStart(start_s, rule, start_s / room_s if room_s > 0 else 0.0)


def describe_starts(way: str, tops: Sequence[ExcerptStart], clips: Sequence[ExcerptStart]) -> str:
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
