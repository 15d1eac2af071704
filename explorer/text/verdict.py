"""Rankings and summaries of a clip -> the sentences of the page. Pure functions.

A sentence never says more than the store: noise is called noise, and a share is a share of the positive score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explorer.store.ranking import NORMALISED, Q_LIMIT, RAW, Ranking, Span, mark_standouts
from explorer.store.records import Summary
from explorer.text.numbers import format_percent

_CONCENTRATION = (1, 3, 10, 30, 100)  # counts that the sentence chooses from
_TELLING_SHARE = 0.25


def name_span(span: Span) -> str:
    """'2.0–4.1 s'."""
    return f"{span.from_s:.1f}–{span.to_s:.1f} s"


def word_verdict(summary: Summary | None) -> str:
    """The first sentence under a clip: how many training tracks are above noise. None: the clip has no scores."""
    if summary is None or not summary.tracks:
        return "This method did not score this clip."
    above, tracks = summary.above_noise, summary.tracks
    if not above:
        return (
            "Nothing is above noise for this clip: no training track passes the test against tracks that "
            "the model never heard. The order below is no evidence of influence."
        )
    noun = "training track" if tracks == 1 else "training tracks"
    first = f"{above:,} of {tracks:,} {noun} {'is' if above == 1 else 'are'} above noise"
    rest = tracks - above
    if not rest:
        return first + "."
    return f"{first}; the other {rest:,} {'is' if rest == 1 else 'are'} not distinguishable from it."


def word_caution(summaries: Sequence[Summary]) -> str:
    """Warn where the test of above noise cannot be trusted in this store: it is made again with the roles exchanged.

    `summaries`: of the generated clips. Tracks never heard should then hardly ever pass; '' where that is so.
    """
    swapped, above = sum(s.decoys_swapped for s in summaries), sum(s.above_noise for s in summaries)
    if swapped <= Q_LIMIT * max(1, above):
        return ""
    clips = "this clip" if len(summaries) == 1 else f"the {len(summaries):,} clips"
    return (
        f"Caution: made with the roles exchanged, the same test finds {swapped:,} decoys, tracks that the model never "
        f"heard, over {clips} of this store, where it finds {above:,} training tracks. A track that is above noise "
        "here is a lead to listen to, no finding."
    )


def word_concentration(summary: Summary, ranking: Ranking, order: str) -> str:
    """Concentration of the positive score, then what the decoys say; '' without training tracks.

    Shares and decoys are those of `ranking`, so that they hold for a span too. Raw order adds what normalising does.
    """
    if not ranking.tracks:
        return ""
    parts = [_concentration(ranking, order)]
    if ranking.decoys:
        best = min(10, len(ranking.value))
        chance = f"({best * ranking.decoys / len(ranking.value):.2g} by chance)"
        decoys = int(ranking.is_decoy[:best].sum())
        were = "was" if decoys == 1 else "were"
        if order == RAW:
            parts.append(
                f"{decoys} of the best {best} by raw score {were} never heard by the model, "
                f"{summary.decoys_top10_norm} by normalised score {chance}"
            )
        elif decoys:
            parts.append(f"{decoys} of the best {best} {were} never heard by the model {chance}")
        else:
            parts.append(f"none of the best {best} is a decoy {chance}")
    return "; ".join(parts) + "."


def _concentration(ranking: Ranking, order: str) -> str:
    """The fewest tracks that hold a telling share, else the first ten."""
    score = "positive score" if order == NORMALISED else "positive raw score"
    held = ranking.share[~ranking.is_decoy]
    total = ranking.tracks
    if np.isnan(held[0]):
        return f"No training track has a {score}"
    counts = [count for count in _CONCENTRATION if count < total] + [total]
    telling = (count for count in counts[: len(_CONCENTRATION)] if held[count - 1] >= _TELLING_SHARE)
    count = next(telling, min(10, total))
    share = format_percent(float(held[count - 1]))
    if count == total:
        return (
            f"The only track holds {share} of the {score}"
            if total == 1
            else f"All {total:,} tracks hold {share} of the {score}"
        )
    who = "The first" if count == 1 else f"The first {count}"
    return f"{who} of {total:,} tracks {'holds' if count == 1 else 'hold'} {share} of the {score}"


def word_control(normalised: Ranking, raw: Ranking, target: int, title: str) -> str:
    """Say whether a control (a training track unlearned itself) finds itself first, as it should."""
    text = f"Control: this is the training track “{title}”, unlearned itself; it should find itself first. "
    rows = normalised.index(target), raw.index(target)
    if rows[0] is None or rows[1] is None or normalised.is_decoy[rows[0]]:
        return text + "It was not scored."
    return text + (
        f"It is number {normalised.place[rows[0]]:,} of {normalised.tracks:,} by normalised score, "
        f"{raw.place[rows[1]]:,} by raw score."
    )


def word_span(ranking: Ranking, span: Span, above_noise: int) -> str:
    """Say whether the order of a span is evidence of anything; `above_noise`: training tracks, for the whole clip."""
    start = f"In {name_span(span)}: "
    if not ranking.tracks:
        return start + "this method scored no track."
    if not ranking.decoys:
        return start + "no decoys were scored, so no track can stand out from them; this order is no evidence."
    standouts = int((mark_standouts(ranking, span) & ~ranking.is_decoy).sum())
    if not standouts:
        return start + "no track stands out from the decoys; this order is no evidence."
    tracks = "1 track stands" if standouts == 1 else f"{standouts:,} tracks stand"
    limits = "Span scores have no error of their own, and that there are many spans to try is not corrected for."
    if not above_noise:
        limits = "That is no evidence: nothing is above noise for the whole clip, and there are many spans to try."
    return start + f"{tracks} out from the decoys (q ≤ {Q_LIMIT:.2f}). {limits}"
