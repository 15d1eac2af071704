"""One page of a list of hard cases -> what hard_cases.js shows. Pure functions; no gradio."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from explorer.methods.hard_cases import filter_rows
from explorer.sound.loudness import limit_gain
from explorer.state.queries import CASE_ROWS, FIRST_PLACES, CaseQuery
from explorer.text.claims import classify_pair, label_pair
from explorer.text.hard_cases import KINDS
from explorer.text.numbers import format_error_rate, format_percent, format_signed

CHARS = 120
_SEARCHED = ["title", "composer", "collection", "clip"]  # columns that the filter looks at


@dataclass(frozen=True)
class CaseTrack:
    """The track of a row: how it is heard, and remarks on it."""

    refusal: str | None  # why it cannot be played; None where it can
    loudness_lufs: float | None
    remarks: tuple[str, ...]  # that it is a hub, further holders, other renderings of its work


def select_page(frame: pd.DataFrame, query: CaseQuery, clip_names: Mapping[int, str]) -> tuple[pd.DataFrame, int]:
    """(one page of the rows that hold the words of the filter, how many there are in all)."""
    clip_column = "best_clip" if query.kind == "hubs" else "clip_id"
    named = frame.assign(clip=[clip_names.get(int(i), "") for i in frame[clip_column]])
    matches = filter_rows(named, query.text, [name for name in _SEARCHED if name in named])
    start = find_offset(query, len(matches))
    return matches.iloc[start : start + CASE_ROWS], len(matches)


def find_offset(query: CaseQuery, total: int) -> int:
    """The first row of the page that is asked for, moved back to the last page where it lies past `total` rows."""
    return min(query.offset, max(0, total - 1) // CASE_ROWS * CASE_ROWS)


def describe_page(rows: pd.DataFrame, total: int, query: CaseQuery, tracks: Mapping[int, CaseTrack]) -> dict[str, Any]:
    """One page of a list, texts ready to read.

    `rows`, `total`: of `select_page`; where they have tracks, with the columns `places`, those that the track may hold
    in the clip, and `silent`, True where the test cannot tell of its match bin; `tracks`: by id.
    """
    columns, read_cells = _CELLS[query.kind]
    return {
        "kinds": list(KINDS.items()),
        "firsts": list(FIRST_PLACES),
        "asked": asdict(query),
        "columns": columns,
        "rows": [_describe_row(row, query.kind, read_cells(row), tracks) for row in rows.to_dict("records")],
        "total": total,
        "offset": find_offset(query, total),
        "limit": CASE_ROWS,
    }


def _describe_row(
    row: Mapping[str, Any], kind: str, cells: Sequence[str], tracks: Mapping[int, CaseTrack]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "clip_id": int(row["best_clip"] if kind == "hubs" else row["clip_id"]),
        "clip": row["clip"][:CHARS],
        "track_id": None,
        "cells": list(cells),
        "facts": _list_facts(row),
    }
    if kind == "disagree":
        return described
    track = tracks[int(row["track_id"])]
    pair_kind = classify_pair(kind == "decoys", bool(row["above_noise"]), float(row["p_value"]), bool(row["silent"]))
    described |= {
        "track_id": int(row["track_id"]),
        "title": row["title"][:CHARS],
        "note": " · ".join(part for part in (row["composer"], row["collection"]) if part)[:CHARS],
        "why": track.refusal,
        "kind": pair_kind,
        "badge": label_pair(pair_kind, int(row["match_bin"])),
        "remarks": list(track.remarks),
        "gain_db": limit_gain(track.loudness_lufs),
    }
    if isinstance(row["planted"], str):
        described["planted"] = row["planted"][:40]
    return described


def _list_facts(row: Mapping[str, Any]) -> dict[str, str]:
    """The numbers that a note is exported with, as text."""
    names = ("rank", "train_rank", "score", "score_norm", "q_value", "clips", "of", "spearman", "overlap")
    numbers = {name: row[name] for name in names if name in row and not pd.isna(row[name])}
    return {name: f"{value:.6g}" for name, value in numbers.items()}


def _format_norm(row: Mapping[str, Any]) -> str:
    return format_signed(float(row["score_norm"]), 2)


def _format_correlation(value: float) -> str:
    return "–" if math.isnan(value) else format_signed(value, 2)


def _format_loudness(row: Mapping[str, Any]) -> str:
    if pd.isna(row["loudness_lufs"]):
        return "no loudness found"
    return f"{format_signed(float(row['loudness_lufs']), 2)} LUFS"


# Kind -> headings of its columns, and the texts of a row in them.
_CELLS: dict[str, tuple[list[str], Callable[[Mapping[str, Any]], list[str]]]] = {
    "disagree": (
        ["methods", "rank correlation", "first tracks in common"],
        lambda row: [
            str(row["methods"]),
            _format_correlation(row["spearman"]),
            format_percent(row["overlap"]) if row["overlap"] >= 0 else "–",
        ],
    ),
    "hubs": (
        ["clips", "best place", "q at it", "mean normalised score"],
        lambda row: [
            f"{row['clips']} of {row['of']}",
            row["places"],
            format_error_rate(row["q_value"]),
            format_signed(float(row["mean_norm"]), 2),
        ],
    ),
    "decoys": (
        ["place among all", "normalised score", "q"],
        lambda row: [f"{row['rank']:,}", _format_norm(row), format_error_rate(row["q_value"])],
    ),
    "quiet": (
        ["loudness", "place", "normalised score", "q"],
        lambda row: [
            _format_loudness(row),
            row["places"],
            _format_norm(row),
            format_error_rate(row["q_value"]),
        ],
    ),
    "short": (
        ["length", "place", "normalised score", "q"],
        lambda row: [
            f"{row['duration_s']:.2f} s",
            row["places"],
            _format_norm(row),
            format_error_rate(row["q_value"]),
        ],
    ),
}
