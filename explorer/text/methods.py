"""Sentences on methods: what each is, what it costs, and how it did on decoys and planted truths. Pure functions.

A figure stands beside what chance would give. Nothing here says more than the store: what was not measured is said so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from explorer.store.records import Diagnostic, MethodRecord, SkippedMethod, Summary
from explorer.text.calibration import Calibration, word_calibration
from explorer.text.numbers import format_count, format_duration, format_percent
from explorer.text.scores import word_reliability

TEXT_CHARS = 600
EVALUATED = 6  # results of a kept evaluation that a card shows at most
PLANTED = {  # (truth, name) of `evaluate planted`, in plain words
    ("weighted", "share_above_twin"): "Planted truths: a track drawn more often in training stands above its twin"
    " in {:.0%}, 50% by chance",
    ("rare", "auc_over_unheard"): "Planted truths: of a rare style, a track that was trained on stands above one of the"
    " same style and caption that was not in {:.0%}, 50% by chance",
    ("exemplars", "places_gained"): "Planted truths: a stranger among others under its own caption gains {:.2g} places"
    " when the model is tuned on it, 0 by chance",
}


def list_methods(
    facts: Sequence[MethodRecord],
    lines: Mapping[int, list[str]],
    skipped: Sequence[SkippedMethod],
    shown: Sequence[int],
    device: str,
    clips: int,
) -> dict[str, Any]:
    """The cards of methods.js: one a method, those of `shown` first, then the methods that could not run, and why."""
    ordered = sorted(facts, key=lambda one: (one.method_id not in shown, one.method_id))
    return {
        "methods": [
            {
                "name": one.name,
                "label": one.label[:TEXT_CHARS],
                "about": one.description[:TEXT_CHARS],
                "cost": word_cost(one.cost_s, device, clips),
                "reliability": word_reliability(one.reliability),
                "record": lines.get(one.method_id, []),
                "settings": format_settings(one.settings_json),
                "shown": one.method_id in shown,
            }
            for one in ordered
        ],
        "skipped": [f"{one.label} ({one.name}): {one.reason}"[:TEXT_CHARS] for one in skipped],
    }


def format_settings(text: str) -> str:
    """A method's settings as lines 'name = value', one a line; the text itself where it is no JSON object."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return text[:4000]
    return "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())[:4000]


def word_cost(cost_s: float | None, device: str, clips: int) -> str:
    """'Cost: 1 min 9 s on cpu, 2.0 s a clip'."""
    if cost_s is None:
        return "Cost: not measured."
    each = f", {format_duration(cost_s / clips)} a clip" if clips else ""
    return f"Cost: {format_duration(cost_s)} on {device}{each}."


def word_record(
    diagnostics: Sequence[Diagnostic],
    summaries: Sequence[Summary],
    own_places: Sequence[int | None],
    evaluations: Sequence[str],
    measured: Calibration | None = None,
) -> list[str]:
    """Say how a method did: decoys, the test of above noise, planted truths.

    `diagnostics`: the latest checkpoint counts. `summaries`: of the generated clips. `own_places`: of each
    control, where the unlearned track stands in its own list (None: beyond what was looked at). `evaluations`: lines
    of `word_evaluations`. `measured`: the rate of error of the test of above noise.
    """
    latest = max((one.checkpoint_step for one in diagnostics), default=0)
    known = {one.name: one.value for one in diagnostics if one.checkpoint_step == latest}
    return [
        *_word_decoys(known, summaries),
        *_word_test(summaries, measured),
        *_word_planted(own_places, known),
        *evaluations,
    ]


def _word_decoys(known: Mapping[str, float], summaries: Sequence[Summary]) -> list[str]:
    with_decoys = [s for s in summaries if s.decoys]
    if not with_decoys:
        return ["Decoys: none were scored, so nothing tells its findings from chance."]
    lines = []
    chance = sum(s.decoys / (s.decoys + s.tracks) for s in with_decoys) / len(with_decoys)
    chance = known.get("decoys_chance", chance)
    for name, words in (("norm", "normalised"), ("raw", "raw")):
        best = [min(10, s.decoys + s.tracks) for s in with_decoys]
        counts = [s.decoys_top10_norm if name == "norm" else s.decoys_top10_raw for s in with_decoys]
        share = known.get(f"decoys_top10_{name}", sum(counts) / sum(best))
        error = math.sqrt(chance * (1 - chance) / sum(best))  # of that many draws, were they independent
        verdict = "no better than chance"
        if share < chance - 2 * error:
            verdict = "better than chance"
        elif share > chance + 2 * error:
            verdict = "worse than chance: it prefers what the model never heard"
        lines.append(
            f"Decoys: by {words} score {format_percent(share)} of the first ten were never heard by the model, "
            f"{format_percent(chance)} by chance; {verdict}."
        )
    areas = [s.auc_norm for s in with_decoys if s.auc_norm is not None]
    if areas:
        area = known.get("auc_norm", sum(areas) / len(areas))
        lines.append(f"A training track stands above a decoy in {format_percent(area)} of pairs (50 % by chance).")
    return lines


def _word_test(summaries: Sequence[Summary], measured: Calibration | None) -> list[str]:
    """How much the test of above noise finds, for how many clips it cannot, and its measured rate of error."""
    if not any(s.decoys for s in summaries):
        return []
    above, found = sum(s.above_noise for s in summaries), sum(s.above_noise > 0 for s in summaries)
    candidates, silent = sum(s.candidates for s in summaries), sum(not s.can_tell for s in summaries)
    clips = format_count(len(summaries), "clip")
    first = f"Above noise: {above:,} of {format_count(candidates, 'candidate')}, for {found:,} of {clips}."
    if not above:
        first = f"Above noise: none of {format_count(candidates, 'candidate')} over {clips}."
    if silent:
        first += f" For {format_count(silent, 'clip')} it cannot tell: too few decoys of the same caption or style."
    rate = word_calibration(measured)
    return [first, *([f"{rate[0].upper()}{rate[1:]}."] if rate else [])]


def _word_planted(own_places: Sequence[int | None], known: Mapping[str, float]) -> list[str]:
    if not own_places:
        return ["Planted truths: no training track was unlearned itself, so whether it would find itself is not known."]
    first = sum(place == 1 for place in own_places)
    tracks = f"{first} of {len(own_places)} training tracks that were unlearned themselves"
    text = f"Planted truths: {tracks} find themselves first"
    rank = known.get("self_rank_norm")
    return [text + (f" (mean rank {rank:.3g})." if rank is not None else ".")]


def find_own_places(top: pd.DataFrame) -> list[int | None]:
    """Place of the unlearned track in each control clip of `ScoreReader.read_top`; None where it is not in there."""
    controls = top[top["clip_kind"] == "track"]
    own = controls[controls["track_id"] == controls["target_track_id"]]
    places = {int(row.clip_id): int(row.train_rank) for row in own.itertuples() if not pd.isna(row.train_rank)}
    return [places.get(int(clip)) for clip in sorted(controls["clip_id"].unique())]


def word_evaluations(results: Mapping[str, str], method: str) -> list[str]:
    """Say what kept evaluations of planted truths found of a method, from rows with truth, name and value."""
    lines: list[str] = []  # in plain words; `others` where there are none
    others: list[str] = []
    for name, text in results.items():
        try:
            rows = json.loads(text).get("rows", [])
        except (ValueError, AttributeError):
            continue
        for row in rows if isinstance(rows, list) else []:
            if not isinstance(row, dict) or row.get("method") != method or "truth" not in row:
                continue
            value, sentence = row.get("value"), PLANTED.get((str(row["truth"]), str(row.get("name"))))
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                kind = f" ({row['score']} score)" if row.get("score") else ""
                plain = f"{sentence.format(value)}{kind}." if sentence else None
                other = f"{name}, {row['truth']}, {row.get('score', '')}: {row.get('name', '')} {value:.3g}."
                (lines if sentence else others).append((plain or other)[:TEXT_CHARS])
    return (lines or others)[:EVALUATED]
