"""Hard cases and what lies behind a score -> what cases.js and behind.js show. Pure functions; no gradio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from explorer.methods.cases import KINDS, QUIET_LUFS, SHORT_PART, matching
from explorer.methods.comparison import signed
from explorer.sound.loudness import limit_gain
from explorer.state.queries import CASE_ROWS, FIRST_PLACES, CaseQuery
from explorer.store.ranking import Ranking
from explorer.store.records import Diagnostic, ScorePart
from explorer.text.numbers import choose_exponent, format_percent, format_power, format_q
from explorer.text.tracks import label_certainty

CHARS = 120
POINTS, DECOY_POINTS = 400, 150
_NAMED = ["title", "composer", "collection", "clip"]


def about(kind: str, first: int, usual_s: float, methods: int, counted: int, chance: str) -> str:
    """What the list holds, and why it is worth a look."""
    return {
        "disagree": (
            f"Clips by how little the {counted} methods agree on the order of training tracks, least first (random and "
            "ensembles left out). Where they disagree, at least one of them is wrong."
            if counted > 1
            else "This store holds only one method that can be compared: there is nobody to disagree with."
        ),
        "hubs": (
            f"Tracks among the first {first} of more than one clip. A track that is high whatever the clip may say "
            f"more of itself than of the clips.{chance}"
        ),
        "decoys": f"Decoys among the first {first}: the model never heard them, so each is a mistake of this size.",
        "quiet": (
            f"Tracks quieter than {signed(QUIET_LUFS).removesuffix('.00')} LUFS, or with no loudness to measure, among "
            f"the first {first}: there is hardly anything in them to learn."
        ),
        "short": (
            f"Tracks shorter than {format_percent(SHORT_PART)} of the usual length ({usual_s:.1f} s) among the first "
            f"{first}: few seconds make a noisy score."
        ),
    }[kind]


def empty(kind: str, text: str, counted: int) -> str:
    """Why the list is empty."""
    if text.strip():
        return f"No row holds “{text.strip()}”."
    return {
        "disagree": f"At least two methods beside random and ensembles must have scored a clip; here {counted} did.",
        "hubs": "No track is that high for two clips.",
        "decoys": "No decoy is that high, or none was scored.",
        "quiet": "No near-silent track is that high.",
        "short": "No very short track is that high.",
    }[kind]


def hub_chance(first: int, clips: int, tracks: int) -> str:
    """How many hubs chance alone would make."""
    if not tracks or clips < 2:
        return ""
    p = min(1.0, first / tracks)
    once = (1 - p) ** clips + clips * p * (1 - p) ** (clips - 1)
    return f" By chance {tracks * (1 - once):.2g} of {tracks:,} tracks would be here."


def listed(frame: pd.DataFrame, query: CaseQuery, clip_names: Mapping[int, str]) -> tuple[pd.DataFrame, int]:
    """(one page of the rows that hold the words asked for, how many there are in all)."""
    clip_column = "best_clip" if query.kind == "hubs" else "clip_id"
    named = frame.assign(clip=[clip_names.get(int(i), "") for i in frame[clip_column]])
    found = matching(named, query.text, [name for name in _NAMED if name in named])
    start = min(query.offset, max(0, len(found) - 1) // CASE_ROWS * CASE_ROWS)
    return found.iloc[start : start + CASE_ROWS], len(found)


def cases(
    rows: pd.DataFrame,
    total: int,
    query: CaseQuery,
    method: str,
    methods: Sequence[tuple[str, str]],
    said: str,
    nothing: str,
    unplayable: Mapping[int, str],
    loudness: Mapping[int, float | None],
    told: Mapping[int, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """What cases.js shows: one page of a list, texts ready to read. `rows`: of `listed`.

    `told`: what else is said of a track, by id: further holders, other renderings of its work.
    """
    columns, cells = _CELLS[query.kind]
    made = []
    for row in rows.to_dict("records"):
        clip_id = int(row["best_clip"] if query.kind == "hubs" else row["clip_id"])
        track_id = None if query.kind == "disagree" else int(row["track_id"])
        item = {
            "clip_id": clip_id,
            "clip": row["clip"][:CHARS],
            "track_id": track_id,
            "cells": cells(row),
            "facts": _facts(row),
        }
        if track_id is not None:
            note = " · ".join(part for part in (row["composer"], row["collection"]) if part)
            item |= {"title": row["title"][:CHARS], "note": note[:CHARS], "why": unplayable.get(track_id)}
            is_decoy, above = query.kind == "decoys", bool(row["above_noise"])
            item |= {
                "kind": "decoy" if is_decoy else "above" if above else "noise",
                "badge": label_certainty(is_decoy, above),
            }
            item["told"] = list((told or {}).get(track_id, ()))
            item["gain_db"] = limit_gain(loudness.get(track_id))
            if isinstance(row["planted"], str):
                item["planted"] = row["planted"][:40]
        made.append(item)
    return {
        "kinds": list(KINDS.items()),
        "firsts": list(FIRST_PLACES),
        "methods": [list(one) for one in methods],
        "method": method,
        "asked": asdict(query),
        "about": said,
        "empty": nothing,
        "columns": columns,
        "rows": made,
        "total": total,
        "offset": min(query.offset, max(0, total - 1) // CASE_ROWS * CASE_ROWS),
        "limit": CASE_ROWS,
    }


def _facts(row: Mapping[str, Any]) -> dict[str, str]:
    """What a note is exported with: plain numbers as text."""
    names = ("rank", "train_rank", "score", "score_norm", "q_value", "clips", "of", "spearman", "overlap")
    numbers = {name: row[name] for name in names if name in row and not pd.isna(row[name])}
    return {name: f"{value:.6g}" for name, value in numbers.items()}


def _shown(row: Mapping[str, Any]) -> str:
    return signed(float(row["score_norm"]))


def _number(value: float, form: str = ".2f") -> str:
    return "–" if math.isnan(value) else f"{value:{form}}".replace("-", "\N{MINUS SIGN}")


def _loudness(row: Mapping[str, Any]) -> str:
    return "no loudness found" if pd.isna(row["loudness_lufs"]) else f"{signed(float(row['loudness_lufs']))} LUFS"


# Kind -> headings of its columns, and what a row says in them.
_CELLS: dict[str, tuple[list[str], Any]] = {
    "disagree": (
        ["methods", "rank correlation", "first tracks in common"],
        lambda row: [
            str(row["methods"]),
            _number(row["spearman"]),
            format_percent(row["overlap"]) if row["overlap"] >= 0 else "–",
        ],
    ),
    "hubs": (
        ["clips", "best place", "q at it", "mean normalised score"],
        lambda row: [
            f"{row['clips']} of {row['of']}",
            f"{row['best_rank']:,}",
            format_q(row["q_value"]),
            signed(row["mean_norm"]),
        ],
    ),
    "decoys": (
        ["place among all", "normalised score", "q"],
        lambda row: [f"{row['rank']:,}", _shown(row), format_q(row["q_value"])],
    ),
    "quiet": (
        ["loudness", "place", "normalised score", "q"],
        lambda row: [_loudness(row), f"{row['train_rank']:,}", _shown(row), format_q(row["q_value"])],
    ),
    "short": (
        ["length", "place", "normalised score", "q"],
        lambda row: [f"{row['duration_s']:.2f} s", f"{row['train_rank']:,}", _shown(row), format_q(row["q_value"])],
    ),
}


def against_duration(
    ranking: Ranking, ids: np.ndarray, seconds: np.ndarray, titles: Mapping[int, str], correlation: float
) -> dict[str, Any]:
    """Normalised score against length for one clip: the first 100 training tracks and an even choice of the others.

    `ids` ascending, with their lengths `seconds`.
    """
    at = np.minimum(np.searchsorted(ids, ranking.track_id), max(0, len(ids) - 1))
    length = seconds[at] if len(ids) else np.zeros(0)

    def points(decoy: bool, first: int, most: int) -> dict[str, list[Any]]:
        rows = np.flatnonzero(ranking.is_decoy == decoy)
        if len(rows) > most:
            rest = np.linspace(first, len(rows) - 1, most - first).astype(int)
            rows = rows[np.unique(np.concatenate([np.arange(first), rest]))]
        kept = ranking.track_id[rows].tolist()
        return {
            "id": kept,
            "x": [round(float(v), 2) for v in length[rows]],
            "y": [float(f"{v:.4g}") for v in ranking.value[rows]],
            "above": [int(v) for v in ranking.above_noise[rows]],
            "title": [titles.get(i, "")[:60] for i in kept],
        }

    drawn, all_tracks = points(False, 100, POINTS), ranking.tracks
    said = (
        f"{len(drawn['id']):,} of {all_tracks:,} training tracks are drawn. " if all_tracks > len(drawn["id"]) else ""
    )
    if math.isnan(correlation):
        said += "Too few tracks, or all of one length: no correlation."
    else:
        said += (
            f"Rank correlation of score and length for this clip: {signed(correlation)} (0: length does not matter)."
        )
    return {"track": drawn, "decoy": points(True, 30, DECOY_POINTS), "said": said}


def parts(found: Sequence[ScorePart] | None, title: str, kept_any: bool) -> dict[str, Any]:
    """The chosen track's score over the noise level t, divided by a power of ten; a sentence where there is none."""
    if not found:
        why = (
            "This run kept no parts of scores."
            if not kept_any
            else "Parts are kept for the 100 best-ranked tracks of a clip, and this track is not among them."
        )
        return {"title": title[:CHARS], "bars": [], "said": why}
    exponent = choose_exponent(np.array([part.score for part in found]))
    total = sum(part.score for part in found) / len(found)
    largest = max(found, key=lambda part: part.score)
    bars = [[part.t_low, part.t_high, float(f"{part.score / 10.0**exponent:.4g}")] for part in found]
    said = "The score is the mean of these parts."
    if total > 0 and largest.score > 0:
        said += (
            f" Noise levels t from {largest.t_low:.2g} to {largest.t_high:.2g} add most to it "
            "(0: hardly any noise, 1: noise alone)."
        )
    return {"title": title[:CHARS], "bars": bars, "power": format_power(exponent), "said": said}


def findings(found: Sequence[Diagnostic]) -> dict[str, Any]:
    """Diagnostics along the checkpoints: a row a finding, a value a step (None: not measured there)."""
    steps = sorted({one.checkpoint_step for one in found})
    by_name: dict[str, dict[int, float]] = {}
    for one in found:
        by_name.setdefault(one.name, {})[one.checkpoint_step] = one.value
    meaning = {one.name: one.meaning for one in found}
    rows = [
        {"name": name, "meaning": meaning[name][: CHARS * 2], "values": [_rounded(values.get(step)) for step in steps]}
        for name, values in by_name.items()
    ]
    return {"steps": steps, "rows": rows[:100]}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
