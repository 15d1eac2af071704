"""One page of the table of tracks -> what table.js shows: rows that match, and the texts of each. No gradio.

Scores: higher = stronger influence, shown with as many digits as their standard error bears. Place 1 = strongest among
training tracks, shown as the interval that the error leaves; a decoy shows, in brackets, those of a track of its score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from explorer.state.queries import TABLE_ROWS, TableQuery
from explorer.store.places import PlaceIntervals
from explorer.store.ranking import Ranking, Span
from explorer.store.records import TrackClaim, TrackRecord
from explorer.text.claims import classify_pair, classify_track, label_hub, label_pair, label_track
from explorer.text.numbers import (
    choose_decimals,
    choose_exponent,
    format_error_rate,
    format_places,
    format_plus_minus,
    format_power,
    format_signed,
)
from explorer.text.tracks import word_place
from explorer.text.verdict import name_span

_NBSP = "\N{NO-BREAK SPACE}"  # headings break into two lines, not between these
RENDERINGS = 6  # places of a work's renderings that are named
CELL_CHARS, LICENCE_CHARS = 240, 400  # of a title and the like: a page of 100 rows stays small


def choose_rows(
    ranking: Ranking,
    query: TableQuery,
    found_ids: np.ndarray | None,
    key: np.ndarray | None = None,
    work: np.ndarray | None = None,
) -> np.ndarray:
    """Indices into the ranking of all rows that match the query, in the table's order, int64 [rows].

    `found_ids`: of `TrackReader.find`, ordered by `query.by`; None where `query.finds` is False. A found track that
    was not scored has no row. `key` [N]: what `query.sort` sorts by, least first, where that is a number; rows without
    one (NaN) come last in either direction. `work` [N]:
    the number of each track's work; where `query.works`, the best-placed matching rendering alone stands for it.
    """
    matches = np.ones(len(ranking.track_id), bool) if query.decoys else ~ranking.is_decoy
    if query.above:
        matches = matches & ranking.above_noise
    if found_ids is None:
        rows = np.flatnonzero(matches)
    elif query.by is None:
        rows = np.flatnonzero(matches & np.isin(ranking.track_id, found_ids))
    else:
        by_id = np.argsort(ranking.track_id, kind="stable")
        sorted_ids = ranking.track_id[by_id]
        at = np.searchsorted(sorted_ids, found_ids)
        scored = at < len(sorted_ids)
        scored[scored] = sorted_ids[at[scored]] == found_ids[scored]
        rows = by_id[at[scored]]
        rows = rows[matches[rows]]
    if query.works and work is not None:
        _, first = np.unique(work[np.sort(rows)], return_index=True)
        rows = rows[np.isin(rows, np.sort(rows)[first])]
    if key is None:
        return rows[::-1] if query.descending else rows
    rows = rows[np.argsort(key[rows], kind="stable")]  # NaN comes last
    known = rows[~np.isnan(key[rows])]
    return np.concatenate([known[::-1] if query.descending else known, rows[len(known) :]])


def find_renderings(ranking: Ranking, work: np.ndarray, rows: np.ndarray, decoys: bool) -> dict[int, list[str]]:
    """By track of `rows` (indices into the ranking): the places that the renderings of its work may hold, where there
    are several.

    `work` [N]: the number of each track's work. `decoys`: count decoys too, where the table lists them.
    """
    listed = np.zeros(int(work.max(initial=0)) + 1, bool)
    listed[work[rows]] = True
    here = np.flatnonzero(listed[work] & (decoys | ~ranking.is_decoy))
    places: dict[int, list[str]] = {}
    for row in rows:
        same = here[work[here] == work[row]]
        if len(same) > 1:
            places[int(ranking.track_id[row])] = [word_place(ranking, int(i)) for i in same]
    return places


def select_page(indices: np.ndarray, query: TableQuery) -> np.ndarray:
    """The indices of one page."""
    return indices[query.offset : query.offset + TABLE_ROWS]


@dataclass(frozen=True)
class TablePage:
    """The rows of one page, and what the store knows of their tracks. Maps go by track id."""

    scores: pd.DataFrame  # of `ScoreReader.read_rows`, in the table's order; a row without track or rank is left out
    tracks: Mapping[int, TrackRecord]
    total: int  # matching rows of all pages
    refusals: Mapping[int, str] = field(default_factory=dict)  # why a track cannot be played
    places: tuple[PlaceIntervals, PlaceIntervals] | None = None  # of each row by normalised and by raw score
    renderings: Mapping[int, list[str]] = field(default_factory=dict)  # places of all renderings of a row's work
    people: Mapping[int, str] = field(default_factory=dict)  # all, where there are more than the columns name
    largest_raw: float | None = None  # of all tracks of the clip: one unit on every page; None: of these rows
    claims: Mapping[int, TrackClaim] = field(default_factory=dict)  # *shaped the model*
    silent: frozenset[int] = frozenset()  # match bins of which the test cannot tell for the whole clip
    tuned: bool = False  # the clip is of a model tuned from the one that `claims` are about


def describe_table(
    page: TablePage,
    ranking: Ranking,
    query: TableQuery,
    collections: Sequence[str],
    span: Span | None = None,
    selected: int | None = None,
) -> dict[str, Any]:
    """One page of the table, texts ready to read.

    `ranking`: the one on show; gives places, q and, in a span, the value.
    """
    scores = page.scores["score"].to_numpy(dtype=float)
    exponent = choose_exponent(scores if page.largest_raw is None else np.array([page.largest_raw]))
    return {
        "headings": {
            "norm": f"normalised ±{_NBSP}error",
            "raw": f"raw ±{_NBSP}error{format_power(exponent).replace(' ', _NBSP)}",
            "q": "q" if span is None else "q in this span",
            "badge": "shaped this clip?" if span is None else "shaped the whole clip?",
            "model": "shaped the first model?" if page.tuned else "shaped the model?",
        },
        "rows": _describe_rows(page, ranking, 10.0**exponent, in_span=span is not None),
        "total": page.total,
        "of": len(ranking.track_id) if query.decoys else ranking.tracks,  # rows without any filter
        "offset": query.offset,
        "limit": TABLE_ROWS,
        "asked": asdict(query),
        "collections": list(collections),
        "span": None if span is None else name_span(span),
        "selected": selected,
    }


def _describe_rows(page: TablePage, ranking: Ranking, unit: float, in_span: bool) -> list[dict[str, Any]]:
    """`unit`: raw scores are divided by it."""
    digits = choose_decimals(page.scores["std_error"] / unit)
    norm_digits = choose_decimals(page.scores["std_error_norm"])
    rows = []
    for number, row in enumerate(page.scores.itertuples()):
        track_id, is_decoy, match_bin = int(row.track_id), bool(row.is_decoy), int(row.match_bin)
        at, track = ranking.index(track_id), page.tracks.get(track_id)
        if at is None or track is None:
            continue
        described = {
            **_list_texts(track),
            "track_id": track_id,
            "place": _bracket(word_place(ranking, at), is_decoy),
            "norm": format_plus_minus(float(row.score_norm), float(row.std_error_norm), norm_digits),
            "raw": format_plus_minus(float(row.score) / unit, float(row.std_error) / unit, digits),
            "q": format_error_rate(float(ranking.q_value[at])),
            "kind": (
                kind := classify_pair(is_decoy, bool(row.above_noise), float(row.p_value), match_bin in page.silent)
            ),
            "badge": label_pair(kind, match_bin),
            "model_kind": classify_track(claim := page.claims.get(track_id)),
            "model": label_track(claim),
            "playable": track_id not in page.refusals,
        }
        if page.places is not None:
            by_norm, by_raw = (format_places(int(p.best[number]), int(p.worst[number])) for p in page.places)
            described |= {"norm_place": _bracket(by_norm, is_decoy), "raw_place": _bracket(by_raw, is_decoy)}
        if hub := label_hub(claim):
            described["hub"] = hub
        if same := page.renderings.get(track_id):
            described["work"] = _word_same_work(same)
        if track_id in page.people:
            described["holders"] = page.people[track_id]
        if track_id in page.refusals:
            described["why"] = page.refusals[track_id]
        if in_span:
            described["span"] = format_signed(float(ranking.value[at]), 2)
        rows.append(described)
    return rows


_SHARED = (
    "composer",
    "collection",
    "instrument",
    "licence",
    "badge",
    "model",
    "model_kind",
    "hub",
    "holders",
    "why",
)  # the same in many rows


def compact_rows(table: dict[str, Any]) -> dict[str, Any]:
    """The value of `describe_table` with its rows as lists: a third of the size.

    `columns`: names of the entries of a row; an entry is None where the row has no such thing. Those in `shared` are
    indices into `texts`.
    """
    columns = list(dict.fromkeys(name for row in table["rows"] for name in row))
    at: dict[str, int] = {}

    def encode(row: dict[str, Any], name: str) -> Any:
        value = row.get(name)
        return at.setdefault(value, len(at)) if name in _SHARED and value is not None else value

    rows = [[encode(row, name) for name in columns] for row in table["rows"]]
    shared = [name for name in columns if name in _SHARED]
    return {**table, "columns": columns, "rows": rows, "shared": shared, "texts": list(at)}


def _bracket(places: str, is_decoy: bool) -> str:
    return f"({places})" if is_decoy else places


def _word_same_work(places: Sequence[str]) -> str:
    """'3 renderings of this work: places 1, 7, 19'."""
    listed = ", ".join(places[:RENDERINGS])
    return f"{len(places)} renderings of this work: places {listed}" + (" …" if len(places) > RENDERINGS else "")


def _list_texts(track: TrackRecord) -> dict[str, Any]:
    """The texts of a track; a planted case is named as one."""
    names = ("title", "composer", "collection", "source", "instrument")
    texts = {name: getattr(track, name)[:CELL_CHARS] for name in names}
    texts["licence"] = track.licence[:LICENCE_CHARS]
    planted = {"planted": track.planted} if track.planted else {}
    return {**texts, **planted, "duration": f"{track.duration_s:.1f} s"}
