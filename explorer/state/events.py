"""Events of the page: each takes a view and what the browser sent, checks it, and returns the next view. No gradio.

Every method raises BadEventError, a line for the listener, where an event makes no sense for this store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from explorer.state.queries import CaseQuery, HolderQuery, TableQuery
from explorer.state.store_views import StoreViews
from explorer.state.view import MEASURES, STARTS, BadEventError, Loop, View, parse_id, parse_seconds
from explorer.store.ranking import NORMALISED, RAW


class EventHandler:
    """Answers the page's events from one store. Holds no state of a listener."""

    def __init__(self, views: StoreViews) -> None:
        self._views = views

    def choose_clip(self, view: View, clip: object) -> View:
        """Another clip, with its strongest tracks. Raises BadEventError, as all of the following."""
        clip_id = self._views.check_clip(clip)
        asked = replace(view.asked, offset=0)
        view = replace(view, clip_id=clip_id, asked=asked, span=None, lanes=None, track_id=None, loop=None)
        return self._views.focus(replace(view, passage=None, tab="listen", unknown=None))

    def open_clip(self, view: View, data: Mapping[str, object]) -> View:
        """{clip_id}: from the overview."""
        return self.choose_clip(view, data.get("clip_id"))

    def visit(self, _: View, data: Mapping[str, object]) -> View:
        """{query}: back or forward in the browser's history."""
        return self._views.read_query(data.get("query"))

    def choose_tab(self, view: View, tab: str) -> View:
        """Open another tab."""
        return replace(view, tab=tab)

    def choose_method(self, view: View, method: object) -> View:
        """Score by another method, with its own strongest tracks."""
        if not isinstance(method, str) or method not in self._views.method_by_name:
            raise BadEventError("this store has no such method")
        view = replace(view, method=self._views.method_by_name[method])
        if view.span is not None:
            view = replace(view, span=self._views.find_span(view, view.span.from_s, view.span.to_s))
        versus = self._views.find_other_method(view.method, view.versus.name if view.versus else None)
        return self._views.focus(replace(view, lanes=None, track_id=None, loop=None, passage=None, versus=versus))

    def choose_order(self, view: View, order: object) -> View:
        """Rank by normalised or by raw scores."""
        if order not in (NORMALISED, RAW):
            raise BadEventError("there is no such order")
        return self._views.focus(replace(view, order=str(order), asked=replace(view.asked, offset=0)))

    def choose_span(self, view: View, data: Mapping[str, object]) -> View:
        """{from_s, to_s, start}; without times, the whole clip."""
        if data.get("start") in STARTS:
            view = replace(view, start=str(data["start"]))
        span = None
        if "from_s" in data:
            span = self._views.find_span(view, parse_seconds(data.get("from_s")), parse_seconds(data.get("to_s")))
        view = replace(view, span=span, loop=None, asked=replace(view.asked, offset=0))
        return self._views.focus(view if view.lanes is not None else replace(view, track_id=None))

    def choose_track(self, view: View, data: Mapping[str, object]) -> View:
        """{track_id}: it becomes a lane of the player, where it is none yet."""
        track_id = parse_id(data.get("track_id"))
        if self._views.rank(view).index(track_id) is None:
            raise BadEventError("this method did not score that track")
        return view.with_lane(track_id, self._views.list_lanes(view))

    def choose_place(self, view: View, data: Mapping[str, object]) -> View:
        """{place, decoy}: the track at that place of the ranking on show."""
        track_id = self._views.rank(view).at(parse_id(data.get("place")), data.get("decoy") is True)
        if track_id is None:
            raise BadEventError("there is no such place")
        return view.with_lane(track_id, self._views.list_lanes(view))

    def drop_track(self, view: View, data: Mapping[str, object]) -> View:
        """{track_id}: it leaves the player."""
        track_id = parse_id(data.get("track_id"))
        rest = tuple(lane for lane in self._views.list_lanes(view) if lane != track_id)
        focus = view.track_id if view.track_id != track_id else None
        return self._views.focus(replace(view, lanes=rest, track_id=focus))

    def ask_table(self, view: View, data: object) -> View:
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
            if not isinstance(versus, str) or self._views.find_other_method(view.method, versus) is None:
                raise BadEventError("this store has no such second method")
            view = replace(view, versus=self._views.find_other_method(view.method, versus))
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
            span = self._views.find_span(
                opened, parse_seconds(data["clip_from_s"]), parse_seconds(data.get("clip_to_s"))
            )
            opened = self._views.focus(replace(opened, span=span))
        opened = self.choose_track(opened, data)
        if "from_s" in data:
            from_s, to_s = parse_seconds(data["from_s"]), parse_seconds(data.get("to_s"))
            opened = replace(opened, loop=Loop(opened.track_id, from_s, to_s) if to_s > from_s else None)
        return opened
