"""Sentences beside scores: how to read the table and the curve. Pure functions."""

from __future__ import annotations

from explorer.store.ranking import Q_LIMIT, Ranking, Span, mark_standouts

CAVEAT = (
    "The error after ± covers noise draws, not retraining. A normalised score compares the raw one with the "
    "same track's scores for other clips, leaves out what all tracks and decoys do alike, then compares with other "
    "tracks for this clip. q is the rate of false discoveries, measured on decoys: tracks that the model never heard."
)


def word_legend(ranking: Ranking, span: Span | None, whole: bool, lined: bool) -> dict[str, str | None]:
    """Texts of the curve's keys; None: this key is not shown.

    `whole`: the order is by normalised score of the whole clip; `lined`: the curve has the line of above noise.
    """
    if span is not None:
        out, rest = f"stands out in this span (q ≤ {Q_LIMIT:.2f})", "does not stand out from the decoys"
    else:
        out, rest = "above noise" if whole else "above noise by normalised score", "not distinguishable from noise"
    some = bool((mark_standouts(ranking, span) & ~ranking.is_decoy).any())
    line = "least score above noise" if lined else None
    if whole and not some and ranking.tracks:
        line = "no score is above noise"
    return {
        "out": out if some else None,
        "rest": rest,
        "decoy": "decoy, never heard by the model" if ranking.decoys else None,
        "line": line,
    }


def word_caption(ranking: Ranking, span: Span | None) -> str:
    """Explain the curves of tracks and decoys."""
    if not ranking.tracks:
        return ""
    if not ranking.decoys:
        return "No decoys were scored: nothing here tells influence from chance."
    text = (
        "A decoy stands where it would if there were as many decoys as tracks: where the two curves lie on each "
        "other, training made no difference."
    )
    if span is None and (passed := int((ranking.above_noise & ranking.is_decoy).sum())):
        verb = "meets" if passed == 1 else "meet"
        text += f" {passed:,} of {ranking.decoys:,} decoys {verb} the criteria of above noise."
    return text
