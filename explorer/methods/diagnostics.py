"""Diagnostics of one clip's scores -> what diagnostics.js shows: length, noise level, findings along training.

Pure functions; no gradio. Scores: higher = stronger influence; noise level t from 0 (clean) to 1 (noise alone).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer.methods.correlation import correlate_ranks
from explorer.store.ranking import Ranking
from explorer.store.records import Diagnostic, ScorePart
from explorer.text import diagnostics as words
from explorer.text.numbers import choose_exponent, format_power

TITLE_CHARS, MEANING_CHARS = 120, 240
POINTS, DECOY_POINTS = 400, 150  # of the scatter at most
FINDINGS = 100  # rows at most


def compare_with_length(
    ranking: Ranking, ids: np.ndarray, seconds: np.ndarray, titles: Mapping[int, str]
) -> dict[str, Any]:
    """Normalised score against length for one clip: the first 100 training tracks and an even choice of the others.

    `ids` ascending, with their lengths `seconds`.
    """
    at = np.minimum(np.searchsorted(ids, ranking.track_id), max(0, len(ids) - 1))
    length = seconds[at] if len(ids) else np.zeros(0)

    def choose_points(decoy: bool, first: int, most: int) -> dict[str, list[Any]]:
        rows = np.flatnonzero(ranking.is_decoy == decoy)
        if len(rows) > most:
            rest = np.linspace(first, len(rows) - 1, most - first).astype(int)
            rows = rows[np.unique(np.concatenate([np.arange(first), rest]))]
        track_ids = ranking.track_id[rows].tolist()
        return {
            "id": track_ids,
            "x": [round(float(v), 2) for v in length[rows]],
            "y": [float(f"{v:.4g}") for v in ranking.value[rows]],
            "above": [int(v) for v in ranking.above_noise[rows]],
            "title": [titles.get(i, "")[:60] for i in track_ids],
        }

    drawn = choose_points(False, 100, POINTS)
    training = ~ranking.is_decoy
    correlation = correlate_ranks(ranking.value[training], length[training])
    return {
        "track": drawn,
        "decoy": choose_points(True, 30, DECOY_POINTS),
        "said": words.word_length(len(drawn["id"]), ranking.tracks, correlation),
    }


def describe_parts(parts: Sequence[ScorePart] | None, title: str, has_parts: bool) -> dict[str, Any]:
    """A track's score over the noise level t, divided by a power of ten; a sentence where there is none.

    `has_parts`: the run stored parts of some tracks.
    """
    if not parts:
        why = words.PARTS_NOT_STORED_HERE if has_parts else words.PARTS_NOT_STORED
        return {"title": title[:TITLE_CHARS], "bars": [], "said": why}
    exponent = choose_exponent(np.array([part.score for part in parts]))
    return {
        "title": title[:TITLE_CHARS],
        "bars": [[part.t_low, part.t_high, float(f"{part.score / 10.0**exponent:.4g}")] for part in parts],
        "power": format_power(exponent),
        "said": words.word_parts(parts),
    }


def tabulate_findings(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    """Findings along the checkpoints: a row a finding, a value a step (None: not measured there)."""
    steps = sorted({one.checkpoint_step for one in diagnostics})
    by_name: dict[str, dict[int, float]] = {}
    for one in diagnostics:
        by_name.setdefault(one.name, {})[one.checkpoint_step] = one.value
    meaning = {one.name: one.meaning for one in diagnostics}
    rows = [
        {
            "name": name,
            "meaning": meaning[name][:MEANING_CHARS],
            "values": [float(f"{values[step]:.4g}") if step in values else None for step in steps],
        }
        for name, values in by_name.items()
    ]
    return {"steps": steps, "rows": rows[:FINDINGS]}
