"""What a listener does, without gradio: a view and an event in, the next view out. Browsers are not believed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from urllib.parse import parse_qsl

from explorer.state.queries import TABLE_ROWS, CaseQuery, HolderQuery, TableQuery
from explorer.state.view import (
    LANES,
    MEASURES,
    MOST_LANES,
    NO_LANES,
    STARTS,
    TABS,
    BadEventError,
    Loop,
    View,
    parse_id,
    parse_loop,
    parse_passage,
    parse_seconds,
    span_of,
)
from explorer.store import Store
from explorer.store.errors import StoreEmptyError
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, rank_clip, rank_span
from explorer.store.records import MethodRecord, Summary

_QUERY_CHARS = 4000
NAMED_DECOYS = 20  # of a ranking
_RANKINGS = 32  # kept; 4 MB each at 115,000 tracks


class Callbacks:
    """Answers the page's events from one store. Holds no state of a listener. Raises StoreEmptyError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._keepers: list[object] = []  # what keeps results of the store at hand
        self._read()

    def reopen(self) -> None:
        """Go on with the store that lies at the same path now."""
        self.store.reopen()
        self._read()
        for keeper in self._keepers:
            for kept in vars(keeper).values():
                if hasattr(kept, "cache_clear"):
                    kept.cache_clear()

    def forgets(self, keeper: object) -> None:
        """Results that `keeper` has at hand (its attributes that are caches) go when the store is opened anew."""
        self._keepers.append(keeper)

    def _read(self) -> None:
        store = self.store
        self.methods = store.runs.list_methods()
        self.clips = store.clips.list_scored()
        if not self.methods or not self.clips:
            raise StoreEmptyError(f"{store.path} holds no scored clip yet: run the attribution first")
        self.collections = store.tracks.list_collections()
        self._method_by_name = {method.name: method for method in self.methods}
        self.clip_by_id = {clip.clip_id: clip for clip in self.clips}
        self.summaries = {method.method_id: store.scores.read_summaries(method.method_id) for method in self.methods}
        self._ranking = lru_cache(_RANKINGS)(self._rank)

    # --- views

    def view_of(self, query: Mapping[str, str]) -> View:
        """The view that an address names; what is missing or not of this store gets a default."""
        method = self._method_by_name.get(query.get("method", ""), self.methods[0])
        view = View(
            self.clips[0].clip_id, method, asked=TableQuery.of_address(query), holders=HolderQuery.of_address(query)
        )
        view = replace(view, order=RAW if query.get("scores") == RAW else NORMALISED)
        if query.get("view") in TABS:
            view = replace(view, tab=query["view"])
        view = replace(view, versus=self._other(method, query.get("with")), cases=CaseQuery.of_address(query))
        if query.get("measure") in MEASURES:
            view = replace(view, measure=query["measure"])
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
        view = replace(view, loop=parse_loop(query.get("loop", "")), passage=parse_passage(query.get("passage", "")))
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
        view = replace(view, clip_id=clip_id, asked=asked, span=None, lanes=None, track_id=None, loop=None)
        return self._focused(replace(view, passage=None, tab="listen", unknown=None))

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
        versus = self._other(view.method, view.versus.name if view.versus else None)
        return self._focused(replace(view, lanes=None, track_id=None, loop=None, passage=None, versus=versus))

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
            return replace(view, asked=TableQuery.of_event(data))
        except ValueError as error:
            raise BadEventError(str(error)) from error

    def choose_pair(self, view: View, data: Mapping[str, object]) -> View:
        """{clip_id, method, versus, measure}, each if it changes: what two methods are compared on."""
        tab = view.tab
        if "clip_id" in data:
            view = replace(self.choose_clip(view, data["clip_id"]), tab=tab)
        if "method" in data:
            view = self.choose_method(view, data["method"])
        if "versus" in data:
            versus = data["versus"]
            if not isinstance(versus, str) or self._other(view.method, versus) is None:
                raise BadEventError("this store has no such second method")
            view = replace(view, versus=self._other(view.method, versus))
        if "measure" in data:
            if data["measure"] not in MEASURES:
                raise BadEventError("agreement is not measured so")
            view = replace(view, measure=str(data["measure"]))
        return view

    def ask_cases(self, view: View, data: object) -> View:
        """{method} and the fields of `CaseQuery`: another list of hard cases."""
        asked = dict(data) if isinstance(data, Mapping) else {}
        method = asked.pop("method", view.method.name)
        if method != view.method.name:
            view = self.choose_method(view, method)
        try:
            return replace(view, cases=CaseQuery.of_event(asked))
        except ValueError as error:
            raise BadEventError(str(error)) from error

    def open_case(self, view: View, data: Mapping[str, object]) -> View:
        """{clip_id, track_id, method, tab}: that clip, that track in the player; all but clip_id may be missing."""
        if data.get("tab") == "compare":
            return self.choose_pair(replace(view, tab="compare"), {"clip_id": data.get("clip_id")})
        if data.get("method") not in (None, view.method.name):
            view = self.choose_method(view, data.get("method"))
        view = self.choose_clip(view, data.get("clip_id"))
        return view if data.get("track_id") is None else self.choose_track(view, data)

    def versus(self, view: View) -> MethodRecord | None:
        """The second method: the chosen one, else the first other one; None where there is only one."""
        return view.versus or next((one for one in self.methods if one != view.method), None)

    def _other(self, method: MethodRecord, name: str | None) -> MethodRecord | None:
        """The method of that name, if it is another one than `method`."""
        found = self._method_by_name.get(name or "")
        return None if found == method else found

    def switch_method(self, view: View, data: Mapping[str, object]) -> View:
        """{method}: chosen on the page of rights holders."""
        return self.choose_method(view, data.get("method"))

    def ask_holders(self, view: View, data: Mapping[str, object]) -> View:
        """The fields of HolderQuery: what the page of rights holders shows."""
        try:
            return replace(view, holders=HolderQuery.of_event(dict(data)))
        except ValueError as error:
            raise BadEventError(str(error)) from error

    def hear_pair(self, view: View, data: Mapping[str, object]) -> View:
        """{clip_id, track_id}, and where: {from_s, to_s} of the track, {clip_from_s, clip_to_s} of the clip."""
        opened = replace(self.choose_clip(view, data.get("clip_id")), tab="listen", start="moment")
        if "clip_from_s" in data:  # before the track: a span has other strongest tracks, and this one is to be a lane
            span = self._span(opened, parse_seconds(data["clip_from_s"]), parse_seconds(data.get("clip_to_s")))
            opened = self._focused(replace(opened, span=span))
        opened = self.choose_track(opened, data)
        if "from_s" in data:
            from_s, to_s = parse_seconds(data["from_s"]), parse_seconds(data.get("to_s"))
            opened = replace(opened, loop=Loop(opened.track_id, from_s, to_s) if to_s > from_s else None)
        return opened

    def _clip(self, clip: object) -> int:
        clip_id = parse_id(clip)
        if clip_id not in self.clip_by_id:
            raise BadEventError("this store has no such clip")
        return clip_id

    def _span(self, view: View, from_s: float, to_s: float) -> Span | None:
        windows, window_s = self.store.scores.read_windows(view.method.method_id, view.clip_id)
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
        # Those whose titles the page shows, in one query: the store keeps them.
        self.store.tracks.read_many([*found.first(TABLE_ROWS), *found.first(NAMED_DECOYS, decoys=True)])
        return found

    def summary(self, view: View) -> Summary | None:
        return self.summaries[view.method.method_id].get(view.clip_id)
