"""Labels and sentences of the two claims: *shaped this clip*, of a pair, and *shaped the model*, of a track.

Pure functions. The two are never mixed: each has a label and a sentence of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from explorer.store.above_noise import FALSE_RATE, LEAST_OTHERS, OTHER, SAME_CAPTION, SAME_STYLE, BinRecord
from explorer.store.ranking import Ranking
from explorer.store.records import TrackClaim
from explorer.text.numbers import format_count, format_error_rate, format_percent

ABOVE, NOISE, UNTESTED, DECOY = "above", "noise", "untested", "decoy"  # kinds of a row
ABOVE_TEXT, NOISE_TEXT, DECOY_TEXT = "above noise", "not distinguishable from noise", "decoy, never heard"
UNTESTED_TEXT, SCARCE_TEXT = "not tested", "too few decoys to tell"
ASSUMPTION = (
    "It rests on one assumption: among tracks that match the clip alike, one that did not matter scores like a decoy."
)
RATE = f"Of such findings at most {format_percent(FALSE_RATE)} are expected to be false"
_ALIKE = {SAME_CAPTION: "the same caption", SAME_STYLE: "the same style", OTHER: "another style"}


def classify_pair(is_decoy: bool, above_noise: bool, p_value: float | None, silent: bool = False) -> str:
    """ABOVE, NOISE, UNTESTED or DECOY: what may be said of a track for a clip.

    `silent`: decoys of its match bin are too few for even a lone track to be found.
    """
    if is_decoy:
        return DECOY
    if above_noise:
        return ABOVE
    return UNTESTED if silent or p_value is None or math.isnan(p_value) else NOISE


def label_pair(kind: str, match_bin: int) -> str:
    """Answer the question *shaped this clip?* in a few words. `kind`: of `classify_pair`."""
    if kind == UNTESTED:
        return UNTESTED_TEXT if match_bin == OTHER else SCARCE_TEXT
    return {ABOVE: ABOVE_TEXT, NOISE: NOISE_TEXT, DECOY: DECOY_TEXT}[kind]


def label_row(ranking: Ranking, row: int) -> tuple[str, str]:
    """(kind, label) of a row of a ranking, for the whole clip or, where it is that of a span, for the span."""
    above = bool(ranking.q_value[row] <= FALSE_RATE) if ranking.error is None else bool(ranking.above_noise[row])
    match_bin = int(ranking.match_bin[row])
    silent = any(one.match_bin == match_bin and not one.can_tell for one in ranking.bins)
    kind = classify_pair(bool(ranking.is_decoy[row]), above, float(ranking.p_value[row]), silent)
    return kind, label_pair(kind, match_bin)


def word_pair(ranking: Ranking, row: int) -> str:
    """The claim *shaped this clip* of a row of a ranking, as a sentence; of a span where the ranking is."""
    kind, label = label_row(ranking, row)
    match_bin, p_value, q_value = int(ranking.match_bin[row]), ranking.p_value[row], ranking.q_value[row]
    if kind == DECOY:
        standing = (
            "" if math.isnan(p_value) else f" Among decoys of {_ALIKE[match_bin]}: p {format_error_rate(p_value)}."
        )
        return f"A decoy: the model never heard it.{standing}"
    start = "Shaped this span" if ranking.error is None else "Shaped this clip"
    basis = next((one for one in ranking.bins if one.match_bin == match_bin), None)
    rests = "" if basis is None or math.isnan(p_value) else f" {word_basis(basis)}"
    if kind == UNTESTED:
        if match_bin == OTHER:
            return f"{start}: not tested, as neither its caption nor its style matches the clip; it has a place only."
        return f"{start}: cannot tell, as there are too few decoys of {_ALIKE[match_bin]}.{rests}"
    return f"{start}: {label} (p {format_error_rate(p_value)}, q {format_error_rate(q_value)}).{rests}"


def word_basis(basis: BinRecord) -> str:
    """Say on how many comparisons and works the p-values of a match bin rest."""
    return (
        f"The p-value rests on {format_count(basis.null_rows, 'comparison')} with decoys of {_ALIKE[basis.match_bin]}, "
        f"over all clips, from {format_count(basis.null_works, 'work')}."
    )


def word_shortage(bins: Sequence[BinRecord]) -> str:
    """Say for which match bins decoys are too few for even a lone track to be found, and how many it takes.

    '' where they suffice everywhere.
    """
    tested = sum(one.decoys > LEAST_OTHERS for one in bins)
    parts = []
    for one in bins:
        alike, candidates = _ALIKE[one.match_bin], format_count(one.candidates, "candidate")
        if one.decoys <= LEAST_OTHERS:
            decoys = format_count(one.decoys, "decoy")
            parts.append(f"of {alike} there are {candidates}, but {decoys} for this clip (at least {LEAST_OTHERS + 1})")
        elif not one.can_tell:
            needed = math.ceil(tested * one.candidates / FALSE_RATE - 1e-9) - 1
            parts.append(
                f"of {alike} there are {candidates} against {format_count(one.null_rows, 'comparison')} with decoys, "
                f"from {format_count(one.null_works, 'work')} (at least {needed:,})"
            )
    text = "; ".join(parts)
    return f"Too few decoys for a lone track to be found: {text}." if text else ""


def classify_track(claim: TrackClaim | None) -> str:
    """ABOVE, NOISE or UNTESTED: what may be said of a track and the model."""
    if claim is None or math.isnan(claim.q_value):
        return UNTESTED
    return ABOVE if claim.above_noise else NOISE


def label_track(claim: TrackClaim | None) -> str:
    """Answer the question *shaped the model?* in a few words; '–' for a decoy, or without decoys."""
    return {ABOVE: ABOVE_TEXT, NOISE: NOISE_TEXT, UNTESTED: "–"}[classify_track(claim)]


def word_model_claim(claim: TrackClaim | None) -> str:
    """'shaped the model: above noise', or that the track is a hub; '' where nothing is said."""
    if hub := label_hub(claim):
        return hub
    return "" if classify_track(claim) == UNTESTED else f"shaped the model: {label_track(claim)}"


def word_track(claim: TrackClaim | None, tuned: bool) -> str:
    """The claim *shaped the model* as a sentence; '' for a decoy, or without decoys.

    `tuned`: the clip on show is of a model tuned from the one that the claim is about.
    """
    if claim is None or classify_track(claim) == UNTESTED:
        return ""
    which = "the model before it was tuned" if tuned else "the model"
    label, numbers = label_track(claim), f"p {format_error_rate(claim.p_value)}, q {format_error_rate(claim.q_value)}"
    return f"Shaped {which}: {label} ({numbers}), by its mean over all clips; this says nothing of any one clip."


def word_hub(claim: TrackClaim | None) -> str:
    """Mark a hub; '' for any other track."""
    if claim is None or not claim.is_hub:
        return ""
    return (
        f"A hub: above noise for {claim.clips_above:,} of {format_count(claim.clips, 'generated clip')}, so its place "
        "says less about any one of them."
    )


def label_hub(claim: TrackClaim | None) -> str:
    """'hub: 12 of 40 clips'; '' for any other track."""
    if claim is None or not claim.is_hub:
        return ""
    return f"hub: above noise for {claim.clips_above:,} of {format_count(claim.clips, 'clip')}"
