"""Sentences of evidence reports. Pure functions; no gradio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from explorer.store.above_noise import FALSE_RATE
from explorer.store.records import ClipRecord, CopiedPassage
from explorer.text.claims import ASSUMPTION
from explorer.text.clips import word_model

LIMITS = (
    "An influence score has no currency. Nothing here says who is owed what, and a share of the positive score is no "
    "share of a clip.",
    "Influence is not copying: a track can sound like the clip and score low, or the reverse. Copied passages are a "
    "question of their own, answered apart.",
    "A score says how this one model reacts at these weights. What would have come out without a track, only training "
    "again without it shows.",
    "The error after ± covers the draws of noise in the computation, not another training run.",
    "Scores compare within one clip: not with another clip’s, nor with another model’s.",
    "Only tracks in this store were scored: a stronger source outside it cannot appear.",
    "Places are listed whether or not they stand above noise, as the interval that the error of the score leaves. "
    "Where the badge says “not distinguishable from noise”, or that a track was not tested, a place is no evidence of "
    "influence.",
    "That a track shaped the model is a statement about the track, over all clips: it says nothing of any one clip.",
)
ABOVE_NOISE = (
    "training tracks of the clip’s caption or style against decoys of the same: conformal p-values, 1 for a score not "
    "above two of its standard errors over the decoys’ median; weighted Benjamini–Hochberg over a clip’s candidates, "
    f"q-value ≤ {FALSE_RATE:.2f}. {ASSUMPTION}"
)
SPREAD_CAPTION = (
    "Normalised influence score by place (log axis), training tracks (line; dots are above noise) and decoys "
    "(dashed), which stand where they would if there were as many of them as tracks. Where the two run "
    "together, training made no difference."
)
MOMENTS_CAPTION = "Influence over time, relative to the largest value of each; bars below the line are negative."
DECOYS_NOTE = (
    "Tracks that the clip’s model never heard: how high an innocent track can score for this clip. A decoy’s place is "
    "none among training tracks, so it has none."
)
PAIRS_NOTE = (
    " A pair is listed where the track is among the first 100 of the clip or above noise; where none is, the best "
    "placed are."
)
FOOTER = "Scores are influence scores: higher means stronger, within one clip. They are no measure of anything owed."
_KINDS = {
    "generated": "generated",
    "user": "brought by a user",
    "track": "control: a training track unlearned itself",
}


def word_table_note(shown: int, of: int, things: str, rows: int) -> str:
    """'30 of 365 training tracks are shown; 365 rows can be had as CSV or Parquet.'"""
    return f"{shown:,} of {of:,} {things} are shown; {rows:,} rows can be had as CSV or Parquet."


def list_clip_facts(clip: ClipRecord) -> list[tuple[str, str]]:
    """(name, value) of a clip: kind, length, seed, its model where that is another than that of most clips."""
    seed = [("Seed", str(clip.seed))] if clip.seed is not None else []
    model = [("Model", text)] if (text := word_model(clip)) else []
    return [("Kind", _KINDS[clip.kind]), ("Length", f"{clip.duration_s:.1f} s"), *seed, *model]


def format_span(at: Sequence[float]) -> str:
    """(from, to) in seconds as '0.2–1.0 s'."""
    return f"{at[0]:.1f}–{at[1]:.1f} s"


class PassageTexts(NamedTuple):
    """The texts of a passage, a column each."""

    clip: str
    track: str
    closeness: str


def describe_passage(passage: CopiedPassage, title: str) -> PassageTexts:
    """Where a passage lies in clip and track, and how close they come there."""
    moved = f"moved by {passage.semitones:+d} semitones, " if passage.semitones else ""
    return PassageTexts(
        f"clip {passage.clip_id}, {format_span(passage.clip)}",
        f"track {passage.track_id} “{title}”, {format_span(passage.track)}",
        f"{moved}similarity {passage.similarity:.3g}, p = {passage.p_value:.3g}",
    )
