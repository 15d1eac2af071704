"""Sentences beside scores: how to read the table and the curve. Pure functions."""

from __future__ import annotations

from explorer.store.above_noise import FALSE_RATE
from explorer.store.ranking import Ranking, Span, mark_standouts
from explorer.text.claims import ASSUMPTION
from explorer.text.numbers import format_signed

RELIABLE = 0.9  # agreement of two halves of the draws, from which on an order counts as settled
DAMAGED = "The store is damaged: whoever runs this explorer must publish it again. The server’s log says what."
CAVEAT = (
    "The error after ± covers noise draws, not retraining. A place is given as the interval of places that the track "
    "would take with its score two errors higher or lower. A normalised score is the raw one in units of the track’s "
    "own spread over other clips.",
    "Shaped this clip: training tracks of the clip’s caption or style are compared with decoys of the same, tracks "
    "that the model never heard. p: how often such a decoy stands as high; q: the rate of false findings among "
    f"candidates down to this one; above noise: q of at most {FALSE_RATE:.2f}. {ASSUMPTION} Shaped the model: the same "
    "question of a track’s mean over all clips; it says nothing of any one clip.",
)


def word_reliability(value: float | None) -> str:
    """How far the rankings by two halves of a method's draws agree; '' where nothing is drawn."""
    if value is None:
        return ""
    text = f"Rankings by two halves of the draws agree at {format_signed(value, 2)} (1: the same order)"
    return f"{text}." if value >= RELIABLE else f"{text}: the order is not settled, and is to be read with care."


def word_legend(ranking: Ranking, span: Span | None, whole: bool) -> dict[str, str | None]:
    """Texts of the curve's keys; None: this key is not shown.

    `whole`: the order is by normalised score of the whole clip.
    """
    if span is not None:
        out, rest = f"stands out in this span (q ≤ {FALSE_RATE:.2f})", "does not stand out, or not tested"
    else:
        out = "above noise" if whole else "above noise by normalised score"
        rest = "not distinguishable from noise, or not tested"
    some = bool((mark_standouts(ranking, span) & ~ranking.is_decoy).any())
    return {
        "out": out if some else None,
        "rest": rest,
        "decoy": "decoy, never heard by the model" if ranking.decoys else None,
        "none": "no track is above noise" if whole and not some and ranking.tracks else None,
    }


def word_caption(ranking: Ranking) -> str:
    """Explain the curves of tracks and decoys."""
    if not ranking.tracks:
        return ""
    if not ranking.decoys:
        return "No decoys were scored: nothing here tells influence from chance."
    return (
        "A decoy stands where it would if there were as many decoys as tracks: where the two curves lie on each "
        "other, training made no difference."
    )
