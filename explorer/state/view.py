"""The view: everything that the address of the page says. The address is the state; nothing else is kept.

`View.query` writes the address; `StoreViews.read_address` in `explorer/state/store_views.py` reads it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from explorer.state.queries import CaseQuery, HolderQuery, TableQuery
from explorer.store.database import MAX_ID
from explorer.store.ranking import NORMALISED, RAW, Span
from explorer.store.records import MethodRecord

LANES = 4  # strongest tracks that the player holds unasked
MOST_LANES = 8
NO_LANES = "none"
STARTS = ("clock", "moment")
TABS = ("listen", "clips", "holders", "compare", "wrong", "guide")
MEASURES = ("spearman", "pearson", "top10", "top100")  # of the agreement of two methods
_PASSAGE = re.compile(r"(\d{1,10}):(\d{1,4})", re.ASCII)
_LOOP = re.compile(r"(?:(\d{1,10}):)?(\d{1,6}(?:\.\d{1,3})?)-(\d{1,6}(?:\.\d{1,3})?)", re.ASCII)


class BadEventError(ValueError):
    """A browser sent something that this store has not; the message is one line for the listener."""


@dataclass(frozen=True)
class Loop:
    """A passage that is repeated: of every lane, or of one track."""

    track_id: int | None
    from_s: float
    to_s: float


@dataclass(frozen=True)
class View:
    """One view of the page. Defaults are not written into the address."""

    clip_id: int
    method: MethodRecord
    order: str = NORMALISED
    span: Span | None = None  # of the clip; tracks are then ranked for it
    lanes: tuple[int, ...] | None = None  # tracks in the player; None: the strongest LANES
    track_id: int | None = None  # the track that the clip is compared with; None: the first lane
    start: str = STARTS[0]  # where tracks start: on the clip's clock, or at their most influential moment
    loop: Loop | None = None
    asked: TableQuery = field(default_factory=TableQuery)  # of the table
    tab: str = "listen"
    passage: tuple[int, int] | None = None  # (track, number of its passage) that is heard against the clip's
    versus: MethodRecord | None = None  # the second method; None: the first other one
    measure: str = MEASURES[0]
    cases: CaseQuery = field(default_factory=CaseQuery)
    holders: HolderQuery = field(default_factory=HolderQuery)  # of the page of rights holders
    unknown: str | None = field(default=None, compare=False)  # what an address named and this store has not

    def query(self) -> str:
        """The query string that names this view; defaults are left out."""
        parts: dict[str, Any] = {"clip": self.clip_id, "method": self.method.name}
        if self.track_id is not None:
            parts["track"] = self.track_id
        if self.order == RAW:
            parts["scores"] = RAW
        if self.span is not None:
            parts["span"] = f"{self.span.from_s:.2f}-{self.span.to_s:.2f}"
        if self.lanes is not None:
            parts["lanes"] = ",".join(map(str, self.lanes)) or NO_LANES
        if self.start == "moment":
            parts["start"] = "moment"
        if self.loop is not None:
            of_track = "" if self.loop.track_id is None else f"{self.loop.track_id}:"
            parts["loop"] = f"{of_track}{self.loop.from_s:.2f}-{self.loop.to_s:.2f}"
        if self.passage is not None:
            parts["passage"] = f"{self.passage[0]}:{self.passage[1]}"
        parts |= self.asked.to_address()
        parts |= self.holders.to_address()
        if self.tab != "listen":
            parts["view"] = self.tab
        if self.versus is not None:
            parts["with"] = self.versus.name
        if self.measure != MEASURES[0]:
            parts["measure"] = self.measure
        parts |= self.cases.to_address()
        return urlencode(parts, safe=":,")

    def with_lane(self, track_id: int, lanes: tuple[int, ...]) -> View:
        """The track is a lane and in focus; where the player is full, the last lane gives way."""
        if track_id not in lanes:
            lanes = (*lanes[: MOST_LANES - 1], track_id)
            return replace(self, lanes=lanes, track_id=track_id)
        return replace(self, track_id=track_id)


def parse_id(value: object) -> int:
    """An id from a browser (number or digits). Raises BadEventError."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise BadEventError("this is not an id")
    return value


def parse_seconds(value: object) -> float:
    """A time from a browser, seconds. Raises BadEventError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
        raise BadEventError("this is not a time")
    return float(value)


def parse_loop(text: str) -> Loop | None:
    """'1.2-3.4' or '17:1.2-3.4'; None for anything else."""
    match = _LOOP.fullmatch(text)
    if match is None or float(match[3]) <= float(match[2]):
        return None
    return Loop(None if match[1] is None else int(match[1]), float(match[2]), float(match[3]))


def parse_passage(text: str) -> tuple[int, int] | None:
    """'17:2' -> (17, 2): track and number; None for anything else."""
    match = _PASSAGE.fullmatch(text)
    return None if match is None else (int(match[1]), int(match[2]))


def cover_windows(from_s: float, to_s: float, windows: int, window_s: float, length_s: float = math.inf) -> Span | None:
    """The windows that a span of the clip touches by more than a tenth; None where that is none or all."""
    if not windows or to_s <= from_s or from_s >= windows * window_s:
        return None
    slack = 0.1 * window_s
    first = math.floor((from_s + slack) / window_s) + 1
    last = min(windows, math.ceil((to_s - slack) / window_s))
    first = min(first, windows)
    last = max(first, last)
    return None if (first, last) == (1, windows) else Span(first, last, window_s, length_s)
