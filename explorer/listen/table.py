"""One page of the table of tracks: what is asked for, what matches, what each row says. Pure functions; no gradio.

Scores: higher = stronger influence, shown with as many digits as their standard error bears. Place 1 = strongest among
training tracks; a decoy shows, in brackets, the place that a track of its score would take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from explorer.state.queries import TABLE_ROWS, TableQuery
from explorer.store.ranking import Ranking, Span
from explorer.store.records import TrackRecord
from explorer.text.numbers import (
    choose_decimals,
    choose_exponent,
    format_plus_minus,
    format_power,
    format_q,
    format_signed,
)
from explorer.text.tracks import label_certainty
from explorer.text.verdict import name_span

_NBSP = "\N{NO-BREAK SPACE}"  # headings break into two lines, not between these
RENDERINGS = 6  # places of a work's renderings that are named
CELL_CHARS, LICENCE_CHARS = 240, 400  # of a title and the like: a page of 100 rows stays small


def matching(
    ranking: Ranking, query: TableQuery, found_ids: np.ndarray | None, key: np.ndarray | None = None, work: Any = None
) -> np.ndarray:
    """Indices into the ranking of all rows that match, in the table's order, int64 [rows].

    `found_ids`: of `TrackReader.find`, ordered by `query.by`; None where `query.finds` is False. A found track that
    was not scored has no row. `key` [N]: what `query.sort` sorts by, least first, where that is a number. `work` [N]:
    the number of each track's work; where `query.works`, the best-placed matching rendering alone stands for it.
    """
    wanted = np.ones(len(ranking.track_id), bool) if query.decoys else ~ranking.is_decoy
    if query.above:
        wanted = wanted & ranking.above_noise
    if found_ids is None:
        rows = np.flatnonzero(wanted)
    elif query.by is None:
        rows = np.flatnonzero(wanted & np.isin(ranking.track_id, found_ids))
    else:
        by_id = np.argsort(ranking.track_id, kind="stable")
        sorted_ids = ranking.track_id[by_id]
        at = np.searchsorted(sorted_ids, found_ids)
        scored = at < len(sorted_ids)
        scored[scored] = sorted_ids[at[scored]] == found_ids[scored]
        rows = by_id[at[scored]]
        rows = rows[wanted[rows]]
    if query.works and work is not None:
        _, first = np.unique(work[np.sort(rows)], return_index=True)
        rows = rows[np.isin(rows, np.sort(rows)[first])]
    if key is not None:
        rows = rows[np.argsort(key[rows], kind="stable")]
    return rows[::-1] if query.descending else rows


def renderings(ranking: Ranking, work: np.ndarray, rows: np.ndarray, decoys: bool) -> dict[int, list[int]]:
    """By track of `rows` (indices into the ranking): the places of all renderings of its work, where there are several.

    `work` [N]: the number of each track's work. Decoys are told of only where the table lists them.
    """
    wanted = np.zeros(int(work.max(initial=0)) + 1, bool)
    wanted[work[rows]] = True
    here = np.flatnonzero(wanted[work] & (decoys | ~ranking.is_decoy))
    found: dict[int, list[int]] = {}
    for row in rows:
        same = here[work[here] == work[row]]
        if len(same) > 1:
            found[int(ranking.track_id[row])] = ranking.place[same].tolist()
    return found


def places_of(values: np.ndarray, all_values: np.ndarray, is_decoy: np.ndarray) -> np.ndarray:
    """Place that each of `values` takes among the training tracks of all [N], by value, from 1."""
    asked, back = np.unique(values, return_inverse=True)  # few: faster than to sort them all
    below = np.searchsorted(asked, all_values[~is_decoy], side="left")  # how many of `asked` a score is above
    above = np.bincount(below, minlength=len(asked) + 1)[::-1].cumsum()[::-1]
    return 1 + above[1:][back]


def page(indices: np.ndarray, query: TableQuery) -> np.ndarray:
    """The rows of one page."""
    return indices[query.offset : query.offset + TABLE_ROWS]


def table(
    rows: pd.DataFrame,
    tracks: Mapping[int, TrackRecord],
    ranking: Ranking,
    query: TableQuery,
    total: int,
    collections: Sequence[str],
    span: Span | None = None,
    selected: int | None = None,
    unplayable: Mapping[int, str] | None = None,
    largest_raw: float | None = None,
    places: tuple[np.ndarray, np.ndarray] | None = None,
    works: Mapping[int, list[int]] | None = None,
    holders: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """What table.js shows: one page of `total` matching rows, texts ready to read.

    `rows`: of `ScoreReader.read_rows`, in the table's order; one that is not in `tracks` or `ranking` is left out.
    `ranking`: the one on show; gives place, q and, in a span, the value. `unplayable`: why, by track id.
    `largest_raw`: of all tracks of the clip, so that every page has one unit; None: of these rows. `places`: of each
    row by normalised and by raw score. `works`: places of all renderings of a row's work, by track id. `holders`: all
    of a track, where there are more than its columns name.
    """
    scores = rows["score"].to_numpy(dtype=float)
    exponent = choose_exponent(scores if largest_raw is None else np.array([largest_raw]))
    unit = 10.0**exponent
    digits, norm_digits = choose_decimals(rows["std_error"] / unit), choose_decimals(rows["std_error_norm"])
    silent = unplayable or {}
    listed = []
    for number, row in enumerate(rows.itertuples()):
        track_id = int(row.track_id)
        at, track = ranking.index(track_id), tracks.get(track_id)
        if at is None or track is None:
            continue
        shown = {
            **_texts(track),
            "track_id": track_id,
            "place": _place(ranking.place[at], bool(row.is_decoy)),
            "norm": format_plus_minus(float(row.score_norm), float(row.std_error_norm), norm_digits),
            "raw": format_plus_minus(float(row.score) / unit, float(row.std_error) / unit, digits),
            "q": format_q(float(ranking.q_value[at])),
            "kind": "decoy" if row.is_decoy else "above" if row.above_noise else "noise",
            "badge": label_certainty(bool(row.is_decoy), bool(row.above_noise)),
            "playable": track_id not in silent,
        }
        if places is not None:
            shown["norm_place"], shown["raw_place"] = (_place(p[number], bool(row.is_decoy)) for p in places)
        if works and (same := works.get(track_id)):
            shown["work"] = _same_work(same)
        if holders and track_id in holders:
            shown["holders"] = holders[track_id]
        if track_id in silent:
            shown["why"] = silent[track_id]
        if span is not None:
            shown["span"] = format_signed(float(ranking.value[at]), 2)
        listed.append(shown)
    return {
        "headings": {
            "norm": f"normalised ±{_NBSP}error",
            "raw": f"raw ±{_NBSP}error{format_power(exponent).replace(' ', _NBSP)}",
            "q": "q" if span is None else "q in this span",
            "badge": "above noise?" if span is None else "in the whole clip",
        },
        "rows": listed,
        "total": total,
        "of": len(ranking.track_id) if query.decoys else ranking.tracks,  # rows without any filter
        "offset": query.offset,
        "limit": TABLE_ROWS,
        "asked": asdict(query),
        "collections": list(collections),
        "span": None if span is None else name_span(span),
        "selected": selected,
    }


_SHARED = ("composer", "collection", "instrument", "licence", "badge", "holders", "why")  # the same in many rows


def lean(made: dict[str, Any]) -> dict[str, Any]:
    """`table`'s value, its rows as lists: a third of the size.

    `columns`: what each entry of a row is, None where a row has no such thing; those in `shared` are places in `texts`.
    """
    columns = list(dict.fromkeys(name for row in made["rows"] for name in row))
    at: dict[str, int] = {}

    def entry(row: dict[str, Any], name: str) -> Any:
        value = row.get(name)
        return at.setdefault(value, len(at)) if name in _SHARED and value is not None else value

    rows = [[entry(row, name) for name in columns] for row in made["rows"]]
    shared = [name for name in columns if name in _SHARED]
    return {**made, "columns": columns, "rows": rows, "shared": shared, "texts": list(at)}


def _place(place: int, is_decoy: bool) -> str:
    return f"({place:,})" if is_decoy else f"{place:,}"


def _same_work(places: Sequence[int]) -> str:
    """'3 renderings of this work: places 1, 7, 19'."""
    listed = ", ".join(f"{place:,}" for place in places[:RENDERINGS])
    return f"{len(places)} renderings of this work: places {listed}" + (" …" if len(places) > RENDERINGS else "")


def _texts(track: TrackRecord) -> dict[str, Any]:
    """What a listener reads of a track; a planted case is named as one."""
    names = ("title", "composer", "collection", "source", "instrument")
    texts = {name: getattr(track, name)[:CELL_CHARS] for name in names}
    texts["licence"] = track.licence[:LICENCE_CHARS]
    planted = {"planted": track.planted} if track.planted else {}
    return {**texts, **planted, "duration": f"{track.duration_s:.1f} s"}
