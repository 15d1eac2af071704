"""What a listener does, without gradio: a view and an event in, the next view out. Browsers are not believed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from urllib.parse import parse_qsl

from explorer.charts import titled
from explorer.errors import StoreEmptyError
from explorer.ranking import NORMALISED, RAW, Ranking, Span, rank_clip, rank_span
from explorer.records import Summary
from explorer.store import Store
from explorer.table import LIMIT, Query
from explorer.view import (
    LANES,
    MOST_LANES,
    NO_LANES,
    STARTS,
    TABS,
    BadEventError,
    View,
    parse_id,
    parse_loop,
    parse_query,
    parse_seconds,
    span_of,
)

_QUERY_CHARS = 4000
_RANKINGS = 32  # kept; 4 MB each at 115,000 tracks


class Callbacks:
    """Answers the page's events from one store. Holds no state of a listener. Raises StoreEmptyError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.version = 0  # counts the versions of the store that were opened after the first
        self._read()

    def reopen(self) -> None:
        """Go on with the store that lies at the same path now."""
        self.store.reopen()
        self._read()
        self.version += 1

    def _read(self) -> None:
        store = self.store
        self.methods = store.methods()
        self.clips = store.clips()
        if not self.methods or not self.clips:
            raise StoreEmptyError(f"{store.path} holds no scored clip yet: run the attribution first")
        self.collections = store.collections()
        self._method_by_name = {method.name: method for method in self.methods}
        self.clip_by_id = {clip.clip_id: clip for clip in self.clips}
        self.summaries = {method.method_id: store.summaries(method.method_id) for method in self.methods}
        self._ranking = lru_cache(_RANKINGS)(self._rank)

    # --- views

    def view_of(self, query: Mapping[str, str]) -> View:
        """The view that an address names; what is missing or not of this store gets a default."""
        method = self._method_by_name.get(query.get("method", ""), self.methods[0])
        view = View(self.clips[0].clip_id, method, asked=parse_query(dict(query)))
        view = replace(view, order=RAW if query.get("scores") == RAW else NORMALISED)
        if query.get("view") in TABS:
            view = replace(view, tab=query["view"])
        try:
            view = replace(view, clip_id=self._clip(query.get("clip", view.clip_id)))
        except BadEventError:  # then the rest was about another store
            missing = "The address names a clip that this store does not hold: this is another one."
            return self._focused(replace(view, unknown=missing))
        loop = parse_loop(query.get("span", ""))
        if loop is not None:
            view = replace(view, span=self._span(view, loop.from_s, loop.to_s))
        if query.get("start") in STARTS:
            view = replace(view, start=query["start"])
        view = replace(view, loop=parse_loop(query.get("loop", "")))
        if "lanes" in query:
            view = replace(view, lanes=self._known(view, query["lanes"].split(",")))
        try:
            track_id = parse_id(query.get("track"))
        except BadEventError:
            return self._focused(view)
        if self.ranking(view).index(track_id) is None:
            missing = "The address names a track that was not scored for this clip."
            return self._focused(replace(view, unknown=missing))
        return self._focused(view.with_lane(track_id, self.lanes(view)))

    def view_at(self, query: object) -> View:
        """The view of a query string that the page handed back. Raises BadEventError where it is no string."""
        if not isinstance(query, str) or len(query) > _QUERY_CHARS:
            raise BadEventError("this is no view of the page")
        return self.view_of(dict(parse_qsl(query.lstrip("?"))))

    def choose_clip(self, view: View, clip: object) -> View:
        """Another clip, with its strongest tracks. Raises BadEventError, as all of the following."""
        clip_id = self._clip(clip)
        asked = replace(view.asked, offset=0)
        kept = View(clip_id, view.method, view.order, start=view.start, asked=asked)
        return self._focused(kept)

    def open_clip(self, view: View, data: Mapping[str, object]) -> View:
        """{clip_id}: from the overview."""
        return self.choose_clip(view, data.get("clip_id"))

    def visit(self, _: View, data: Mapping[str, object]) -> View:
        """{query}: back or forward in the browser's history."""
        return self.view_at(data.get("query"))

    def choose_tab(self, view: View, tab: str) -> View:
        return replace(view, tab=tab)

    def choose_method(self, view: View, method: object) -> View:
        if not isinstance(method, str) or method not in self._method_by_name:
            raise BadEventError("this store has no such method")
        view = replace(view, method=self._method_by_name[method])
        if view.span is not None:
            view = replace(view, span=self._span(view, view.span.from_s, view.span.to_s))
        return self._focused(replace(view, lanes=None, track_id=None, loop=None))

    def choose_order(self, view: View, order: object) -> View:
        if order not in (NORMALISED, RAW):
            raise BadEventError("there is no such order")
        return self._focused(replace(view, order=str(order), asked=replace(view.asked, offset=0)))

    def choose_span(self, view: View, data: Mapping[str, object]) -> View:
        """{from_s, to_s, start}; without times, the whole clip."""
        if data.get("start") in STARTS:
            view = replace(view, start=str(data["start"]))
        span = None
        if "from_s" in data:
            span = self._span(view, parse_seconds(data.get("from_s")), parse_seconds(data.get("to_s")))
        view = replace(view, span=span, loop=None, asked=replace(view.asked, offset=0))
        return self._focused(view if view.lanes is not None else replace(view, track_id=None))

    def choose_track(self, view: View, data: Mapping[str, object]) -> View:
        """{track_id}: it becomes a lane of the player, where it is none yet."""
        track_id = parse_id(data.get("track_id"))
        if self.ranking(view).index(track_id) is None:
            raise BadEventError("this method did not score that track")
        return view.with_lane(track_id, self.lanes(view))

    def choose_place(self, view: View, data: Mapping[str, object]) -> View:
        """{place, decoy}: the track at that place of the ranking on show."""
        track_id = self.ranking(view).at(parse_id(data.get("place")), data.get("decoy") is True)
        if track_id is None:
            raise BadEventError("there is no such place")
        return view.with_lane(track_id, self.lanes(view))

    def drop_track(self, view: View, data: Mapping[str, object]) -> View:
        """{track_id}: it leaves the player."""
        track_id = parse_id(data.get("track_id"))
        rest = tuple(lane for lane in self.lanes(view) if lane != track_id)
        focus = view.track_id if view.track_id != track_id else None
        return self._focused(replace(view, lanes=rest, track_id=focus))

    def ask(self, view: View, data: object) -> View:
        """Another filter, order or page of the table."""
        try:
            return replace(view, asked=Query.of(data))
        except ValueError as error:
            raise BadEventError(str(error)) from error

    def _clip(self, clip: object) -> int:
        clip_id = parse_id(clip)
        if clip_id not in self.clip_by_id:
            raise BadEventError("this store has no such clip")
        return clip_id

    def _span(self, view: View, from_s: float, to_s: float) -> Span | None:
        windows, window_s = self.store.clip_windows(view.method.method_id, view.clip_id)
        return span_of(from_s, to_s, windows, window_s, self.clip_by_id[view.clip_id].duration_s)

    def _known(self, view: View, ids: list[str]) -> tuple[int, ...] | None:
        """Those of `ids` that this clip has scores of, each once, as many as the player holds; None for none.

        An empty player is written as NO_LANES.
        """
        if ids == [NO_LANES]:
            return ()
        found: list[int] = []
        for text in ids[: 4 * MOST_LANES]:
            try:
                track_id = parse_id(text)
            except BadEventError:
                continue
            if track_id not in found and self.ranking(view).index(track_id) is not None:
                found.append(track_id)
        return tuple(found[:MOST_LANES]) or None

    def lanes(self, view: View) -> tuple[int, ...]:
        """The tracks in the player: the chosen ones, else the strongest."""
        return view.lanes if view.lanes is not None else tuple(self.ranking(view).first(LANES))

    def _focused(self, view: View) -> View:
        """The track in focus is a lane; the first lane where none was chosen."""
        lanes_now = self.lanes(view)
        if view.track_id in lanes_now:
            return view
        return replace(view, track_id=lanes_now[0] if lanes_now else None)

    # --- what it rests on

    def ranking(self, view: View) -> Ranking:
        """The ranking on show: of the span where there is one, else of the whole clip in the chosen order."""
        return self._ranking(view.method.method_id, view.clip_id, view.span or view.order)

    def _rank(self, method_id: int, clip_id: int, by: str | Span) -> Ranking:
        if isinstance(by, Span):
            found = rank_span(self.store, method_id, clip_id, by)
        else:
            found = rank_clip(self.store, method_id, clip_id, by)
        self.store.tracks([*titled(found), *found.first(LIMIT)])  # the store keeps them: one question in place of three
        return found

    def summary(self, view: View) -> Summary | None:
        return self.summaries[view.method.method_id].get(view.clip_id)
