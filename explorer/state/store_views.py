"""Reads the address of the page as a view of one store (`View.query` writes it), and finds what a view shows of it.

No state of a listener, no gradio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ParamSpec, TypeVar
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
    View,
    cover_windows,
    parse_id,
    parse_loop,
    parse_passage,
)
from explorer.store import Store
from explorer.store.errors import StoreEmptyError
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, rank_clip
from explorer.store.records import ClipRecord, MethodRecord, Summary, TrackClaim
from explorer.store.spans import rank_span
from explorer.text.calibration import Calibration, find_calibration

NAMED_DECOYS = 20  # of a ranking: how many have their titles shown
_QUERY_CHARS = 4000
_RANKINGS = 32  # kept; 4 MB each at 115,000 tracks

_P = ParamSpec("_P")
_T = TypeVar("_T")


class StoreViews:
    """Reads addresses as views of one store, and finds what pages show of them. Safe to share between threads."""

    def __init__(self, store: Store) -> None:
        """Raises StoreEmptyError where no clip has scores."""
        self.store = store
        self._clear_caches: list[Callable[[], None]] = []
        self._rank = self.cache(_RANKINGS, self._compute_ranking)
        self._evaluations = self.cache(1, lambda: self.store.runs.read_evaluations())
        self._read()

    def _read(self) -> None:
        store = self.store
        self.methods = store.runs.list_methods()
        self.clips = store.clips.list_scored()
        if not self.methods or not self.clips:
            raise StoreEmptyError(f"{store.path} holds no scored clip yet: run the attribution first")
        self.collections = store.tracks.list_collections()
        self.method_by_name = {method.name: method for method in self.methods}
        self.clip_by_id = {clip.clip_id: clip for clip in self.clips}
        self.summaries = {method.method_id: store.scores.read_summaries(method.method_id) for method in self.methods}
        self.default_method = self.method_by_name.get(store.info.default_method, self.methods[0])
        self.first_clip = self._choose_first_clip()

    def _choose_first_clip(self) -> ClipRecord:
        """The clip that the page opens with: the first with an answer by the default method, where one has any."""
        summaries = self.summaries[self.default_method.method_id]
        found = (one for one in self.clips if one.clip_id in summaries and summaries[one.clip_id].above_noise)
        return next((one for one in found if one.kind == "generated"), self.clips[0])

    def reopen(self) -> None:
        """Go on with the store that lies at the same path now."""
        self.store.reopen()
        self._read()
        for clear in self._clear_caches:
            clear()

    def cache(self, size: int | None, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Keep the latest `size` results of `function` (None: all), until the store is opened anew."""
        cached = lru_cache(size)(function)
        self._clear_caches.append(cached.cache_clear)
        return cached  # type: ignore[return-value]

    # --- addresses

    def read_address(self, query: Mapping[str, str]) -> View:
        """The view that an address names; what is missing or not of this store gets a default."""
        method = self.method_by_name.get(query.get("method", ""), self.default_method)
        view = View(
            self.first_clip.clip_id, method, asked=TableQuery.of_address(query), holders=HolderQuery.of_address(query)
        )
        view = replace(view, order=RAW if query.get("scores") == RAW else NORMALISED)
        if query.get("view") in TABS:
            view = replace(view, tab=query["view"])
        view = replace(
            view, versus=self.find_other_method(method, query.get("with")), cases=CaseQuery.of_address(query)
        )
        if query.get("measure") in MEASURES:
            view = replace(view, measure=query["measure"])
        try:
            view = replace(view, clip_id=self.check_clip(query.get("clip", view.clip_id)))
        except BadEventError:  # then the rest was about another store
            missing = "The address names a clip that this store does not hold: this is another one."
            return self.focus(replace(view, unknown=missing))
        loop = parse_loop(query.get("span", ""))
        if loop is not None:
            view = replace(view, span=self.find_span(view, loop.from_s, loop.to_s))
        if query.get("start") in STARTS:
            view = replace(view, start=query["start"])
        view = replace(view, loop=parse_loop(query.get("loop", "")), passage=parse_passage(query.get("passage", "")))
        if "lanes" in query:
            view = replace(view, lanes=self._parse_lanes(view, query["lanes"].split(",")))
        try:
            track_id = parse_id(query.get("track"))
        except BadEventError:
            return self.focus(view)
        if self.rank(view).index(track_id) is None:
            missing = "The address names a track that was not scored for this clip."
            return self.focus(replace(view, unknown=missing))
        return self.focus(view.with_lane(track_id, self.list_lanes(view)))

    def read_query(self, query: object) -> View:
        """The view of a query string that the page handed back. Raises BadEventError where it is no string."""
        if not isinstance(query, str) or len(query) > _QUERY_CHARS:
            raise BadEventError("this is no view of the page")
        return self.read_address(dict(parse_qsl(query.lstrip("?"))))

    def check_clip(self, clip: object) -> int:
        """The id of a scored clip, from what a browser sent. Raises BadEventError."""
        clip_id = parse_id(clip)
        if clip_id not in self.clip_by_id:
            raise BadEventError("this store has no such clip")
        return clip_id

    def find_span(self, view: View, from_s: float, to_s: float) -> Span | None:
        """The windows of the clip of a view that lie between two times; None where that is none or all."""
        windows, window_s = self.store.scores.read_windows(view.method.method_id, view.clip_id)
        return cover_windows(from_s, to_s, windows, window_s, self.clip_by_id[view.clip_id].duration_s)

    def _parse_lanes(self, view: View, ids: Sequence[str]) -> tuple[int, ...] | None:
        """Those of `ids` that this clip has scores of, each once, as many as the player holds; None for none.

        An empty player is written as NO_LANES.
        """
        if ids == [NO_LANES]:
            return ()
        track_ids: list[int] = []
        for text in ids[: 4 * MOST_LANES]:
            try:
                track_id = parse_id(text)
            except BadEventError:
                continue
            if track_id not in track_ids and self.rank(view).index(track_id) is not None:
                track_ids.append(track_id)
        return tuple(track_ids[:MOST_LANES]) or None

    def find_other_method(self, method: MethodRecord, name: str | None) -> MethodRecord | None:
        """The method of that name, if it is another one than `method`."""
        other = self.method_by_name.get(name or "")
        return None if other == method else other

    def focus(self, view: View) -> View:
        """The track in focus is a lane; the first lane where none was chosen."""
        lanes_now = self.list_lanes(view)
        if view.track_id in lanes_now:
            return view
        return replace(view, track_id=lanes_now[0] if lanes_now else None)

    # --- what a view rests on

    def list_lanes(self, view: View) -> tuple[int, ...]:
        """The tracks in the player: the chosen ones, else the strongest."""
        return view.lanes if view.lanes is not None else tuple(self.rank(view).first(LANES))

    def find_versus(self, view: View) -> MethodRecord | None:
        """The second method: the chosen one, else the first other one; None where there is only one."""
        return view.versus or next((one for one in self.methods if one != view.method), None)

    def rank(self, view: View) -> Ranking:
        """The ranking on show: of the span where there is one, else of the whole clip in the chosen order."""
        return self._rank(view.method.method_id, view.clip_id, view.span or view.order)

    def _compute_ranking(self, method_id: int, clip_id: int, by: str | Span) -> Ranking:
        if isinstance(by, Span):
            ranking = rank_span(self.store, method_id, clip_id, by)
        else:
            ranking = rank_clip(self.store, method_id, clip_id, by)
        # Those whose titles the page shows, in one query: the store keeps them.
        self.store.tracks.read_many([*ranking.first(TABLE_ROWS), *ranking.first(NAMED_DECOYS, decoys=True)])
        return ranking

    def list_summaries(self, method_id: int) -> list[Summary]:
        """Summaries by a method of the clips of run 1, controls apart: what is said of a whole store counts these."""
        clips = self.clip_by_id
        return [
            one
            for one in self.summaries[method_id].values()
            if clips[one.clip_id].kind != "track" and clips[one.clip_id].run_id == 1
        ]

    def read_claims(self, view: View, track_ids: Sequence[int]) -> dict[int, TrackClaim]:
        """The claim *shaped the model* by the method of a view, by track."""
        return self.store.claims.read_of_tracks(view.method.method_id, track_ids)

    def find_silent_bins(self, view: View) -> frozenset[int]:
        """The match bins of which the test cannot tell for the whole clip of a view."""
        silent = self.store.claims.list_silent(view.method.method_id)
        return frozenset(match_bin for clip_id, match_bin in silent if clip_id == view.clip_id)

    def is_tuned(self, view: View) -> bool:
        """True where the clip of a view is of a model tuned from that of most clips."""
        return self.clip_by_id[view.clip_id].run_id != 1

    def find_calibration(self, method: MethodRecord) -> Calibration | None:
        """The measured rate of error of the test of above noise by a method; None where the store keeps none."""
        return find_calibration(self._evaluations(), method.name)

    def find_summary(self, view: View) -> Summary | None:
        """The summary of the clip of a view by its method; None where that did not score it."""
        return self.summaries[view.method.method_id].get(view.clip_id)
