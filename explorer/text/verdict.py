"""Rankings and summaries of a clip -> the sentences of the page. Pure functions.

A sentence never says more than the store: noise is called noise, and a share is a share of the positive score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explorer.store.above_noise import FALSE_RATE, BinRecord
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, mark_standouts
from explorer.store.records import Summary
from explorer.text.calibration import Calibration, word_calibration
from explorer.text.claims import RATE, word_shortage
from explorer.text.numbers import format_count, format_percent, format_places

_CONCENTRATION = (1, 3, 10, 30, 100)  # counts that the sentence chooses from
_TELLING_SHARE = 0.25
NO_EVIDENCE = "The order below is no evidence of influence."


def name_span(span: Span) -> str:
    """'2.0–4.1 s'."""
    return f"{span.from_s:.1f}–{span.to_s:.1f} s"


def word_verdict(
    summary: Summary | None, bins: Sequence[BinRecord], measured: Calibration | None = None
) -> tuple[str, ...]:
    """The sentences under a clip: is anything above noise, of how many, at what rate of error; most telling first.

    `summary` None: the clip has no scores. `bins`: what the test rests on; `measured`: its rate of error, where known.
    """
    if summary is None or not summary.tracks:
        return ("This method did not score this clip.",)
    if not summary.decoys:
        return (f"No decoys were scored for this clip, so nothing can be told from noise. {NO_EVIDENCE}",)
    if not summary.candidates:
        return (f"Nothing was tested for this clip: no training track has its caption or style. {NO_EVIDENCE}",)
    candidates, shortage = format_count(summary.candidates, "candidate"), word_shortage(bins)
    if summary.above_noise:
        above = summary.above_noise
        first = f"{above:,} of {candidates} {'stands' if above == 1 else 'stand'} above noise for this clip."
        rate = "; ".join(part for part in (RATE, word_calibration(measured)) if part) + "."
        return tuple(part for part in (first, f"{_word_candidates(summary)} {rate}", shortage) if part)
    if not summary.can_tell:
        first = f"Cannot tell for this clip: there are too few decoys of its caption and style for {candidates}."
        return tuple(part for part in (f"{first} {NO_EVIDENCE}", shortage, _word_candidates(summary)) if part)
    which = "the only candidate does not stand" if summary.candidates == 1 else f"none of {candidates} stands"
    first = f"Nothing is above noise for this clip: {which} out from decoys, tracks that the model never heard."
    return tuple(part for part in (f"{first} {NO_EVIDENCE}", _word_candidates(summary), shortage) if part)


def _word_candidates(summary: Summary) -> str:
    """Who is tested, and who is not."""
    who = "Candidates are the training tracks of the clip’s caption or style"
    rest = summary.tracks - summary.candidates
    if not rest:
        return f"{who}: here all are."
    verbs = ("is", "has") if rest == 1 else ("are", "have")
    return f"{who}; the other {rest:,} {verbs[0]} not tested, and {verbs[1]} a place only."


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
    own, by_raw = (
        format_places(one.intervals.best[i], one.intervals.worst[i])
        for one, i in ((normalised, rows[0]), (raw, rows[1]))
    )
    return text + f"Its place is {own} of {normalised.tracks:,} by normalised score, {by_raw} by raw score."


def word_span(ranking: Ranking, span: Span, above_noise: int) -> tuple[str, ...]:
    """Sentences on whether the order of a span is evidence of anything, most telling first.

    `above_noise`: training tracks above noise for the whole clip.
    """
    start = f"In {name_span(span)}: "
    if not ranking.tracks:
        return (start + "this method scored no track.",)
    if not ranking.decoys:
        return (start + "no decoys were scored, so no track can stand out from them; this order is no evidence.",)
    candidates = sum(one.candidates for one in ranking.bins)
    if not candidates:
        return (
            start + "no training track has the clip’s caption or style, so none is tested; this order is no evidence.",
        )
    of = format_count(candidates, "candidate")
    standouts = int((mark_standouts(ranking, span) & ~ranking.is_decoy).sum())
    if not standouts and not any(one.can_tell for one in ranking.bins):
        return start + "cannot tell, too few decoys; this order is no evidence.", word_shortage(ranking.bins)
    if not standouts:
        return (start + f"none of {of} stands out from decoys; this order is no evidence.",)
    limits = "A span has no error of its own, and that there are many spans to try is not corrected for."
    if not above_noise:
        limits = "That is no evidence: nothing is above noise for the whole clip, and there are many spans to try."
    verb = "stands" if standouts == 1 else "stand"
    return start + f"{standouts:,} of {of} {verb} out from decoys (q ≤ {FALSE_RATE:.2f}).", limits
