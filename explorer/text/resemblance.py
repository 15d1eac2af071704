"""Sentences about resemblance: how alike a clip and a track sound, and passages that come close."""

from __future__ import annotations

NOT_MEASURED = "This run did not compare how clips and tracks sound."
NOT_COMPARED = "Not compared with this clip: the run compares the first 50 tracks of each method."
NO_PASSAGES = "No passage of this track comes close to one of the clip."
PASSAGES_NOT_SEARCHED = "This run did not look for copied passages."
PASSAGES_NOT_SEARCHED_HERE = "Not looked at for this clip."
BEYOND_EXCERPT = "it lies beyond the excerpt that may be heard"


def word_unlisted_passages(count: int) -> str:
    """'3 further passages are not listed.'; empty for none."""
    return f"{count} further passages are not listed." if count > 0 else ""


def word_passage(semitones: int, p_value: float) -> str:
    """'at the same pitch; a decoy comes as close in 3 % of cases'. `semitones`: how far the track was moved to fit."""
    return f"{_word_shift(semitones)}; a decoy comes as close {_word_frequency(p_value)}"


def _word_shift(semitones: int) -> str:
    if not semitones:
        return "at the same pitch"
    count = abs(semitones)
    return f"track moved {count} semitone{'s' if count != 1 else ''} {'up' if semitones > 0 else 'down'}"


def _word_frequency(p_value: float) -> str:
    return "in less than 0.1 % of cases" if p_value < 0.001 else f"in {100 * p_value:.2g} % of cases"
