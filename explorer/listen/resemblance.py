"""Resemblance of clip and track, and passages that come close -> what resemblance.js shows. No gradio.

Resemblance is not influence: it stands apart from the scores. Percentiles are among random pairs of clip and track; a
passage's p-value says how often a decoy comes as close to this clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.sound.permission import measure_heard
from explorer.store.records import PassageRecord, SoundRecord
from explorer.store.resemblance import ASPECTS
from explorer.text import resemblance as words

PASSAGES = 6  # of a track
TITLE_CHARS = 120
CLOSE_P = 0.05  # at most: closer than decoys come


@dataclass(frozen=True)
class ResemblanceFacts:
    """The store's knowledge of one pair of clip and track."""

    aspects: Mapping[str, float] | None  # aspect -> percentile; None: this pair was not compared
    passages: Sequence[PassageRecord]  # closest first
    has_aspects: bool  # the run compared some pairs
    has_passages: bool  # the run found passages of some pairs


def describe_resemblance(facts: ResemblanceFacts, sound: SoundRecord, refusal: str | None) -> dict[str, Any]:
    """Bars, passages and the sentences beside them. `refusal`: why the track cannot be played; None where it can."""
    bars = [[name, round(facts.aspects[name], 1)] for name in ASPECTS if name in facts.aspects] if facts.aspects else []
    listed = [_describe_passage(one, sound, refusal) for one in facts.passages[:PASSAGES]]
    return {
        "aspects": bars,
        "missing": "" if bars else words.NOT_COMPARED if facts.has_aspects else words.NOT_MEASURED,
        "passages": listed,
        "copied": _word_passages(facts, len(listed), compared=bool(bars)),
    }


def _word_passages(facts: ResemblanceFacts, listed: int, compared: bool) -> str:
    if listed:
        return words.word_unlisted_passages(len(facts.passages) - listed)
    if not facts.has_passages and not compared:
        return words.PASSAGES_NOT_SEARCHED
    return words.NO_PASSAGES if compared or not facts.has_aspects else words.PASSAGES_NOT_SEARCHED_HERE


def _describe_passage(passage: PassageRecord, sound: SoundRecord, refusal: str | None) -> dict[str, Any]:
    """Where it lies in clip and track, in seconds; `why`: it cannot be played."""
    beyond = passage.track_start_s >= measure_heard(sound)
    return {
        "number": passage.number,
        "clip": [round(passage.clip_start_s, 2), round(passage.clip_end_s, 2)],
        "track": [round(passage.track_start_s, 2), round(passage.track_end_s, 2)],
        "close": passage.p_value <= CLOSE_P,
        "text": words.word_passage(passage.semitones, passage.p_value),
        "why": refusal or (words.BEYOND_EXCERPT if beyond else None),
    }
