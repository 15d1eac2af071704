"""Why a track: how clip and track sound alike, and whether anything is copied -> what why.js shows. No gradio.

Both are resemblance, which is not influence: they stand apart from the scores. Percentiles are among random pairs of
clip and track; a passage's p-value says how often a decoy comes as close to this clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explorer.sound.permission import measure_heard
from explorer.store.records import PassageRecord, SoundRecord
from explorer.store.resemblance import ASPECTS

PASSAGES = 6  # of a track
TITLE_CHARS = 120
CLOSE_P = 0.05  # at most: closer than decoys come
NOT_MEASURED = "This run did not compare how clips and tracks sound."
NOT_THIS_ONE = "Not compared with this clip: the run compares the first 50 tracks of each method."
NO_PASSAGES = "No passage of this track comes close to one of the clip."


def track(
    title: str,
    aspects: Mapping[str, float] | None,
    passages: Sequence[PassageRecord],
    sound: SoundRecord,
    refused: str | None,
    measured: tuple[bool, bool],
    named: Sequence[str] = (),
) -> dict[str, Any]:
    """One track of the player. `measured`: whether the run holds any aspects, any passages at all.

    `named`: what else is said of it: who holds it, how sure its score is.
    """
    bars = [[name, round(aspects[name], 1)] for name in ASPECTS if name in aspects] if aspects else []
    missing = "" if bars else NOT_THIS_ONE if measured[0] else NOT_MEASURED
    listed = [_passage(one, sound, refused) for one in passages[:PASSAGES]]
    if listed:
        more = len(passages) - len(listed)
        copied = f"{more} further passages are not listed." if more > 0 else ""
    elif not measured[1] and not bars:
        copied = "This run did not look for copied passages."
    else:
        copied = NO_PASSAGES if bars or not measured[0] else "Not looked at for this clip."
    found = {"aspects": bars, "missing": missing, "passages": listed, "copied": copied}
    return {"title": title[:TITLE_CHARS], "named": [text for text in named if text], **found}


def _passage(one: PassageRecord, sound: SoundRecord, refused: str | None) -> dict[str, Any]:
    """Where it lies in clip and track, in seconds; `why`: it cannot be heard."""
    beyond = one.track_start_s >= measure_heard(sound)
    return {
        "number": one.number,
        "clip": [round(one.clip_start_s, 2), round(one.clip_end_s, 2)],
        "track": [round(one.track_start_s, 2), round(one.track_end_s, 2)],
        "close": one.p_value <= CLOSE_P,
        "text": f"{_moved(one.semitones)}; a decoy comes as close {_often(one.p_value)}",
        "why": refused or ("it lies beyond the excerpt that may be heard" if beyond else None),
    }


def _moved(semitones: int) -> str:
    if not semitones:
        return "at the same pitch"
    count = abs(semitones)
    return f"track moved {count} semitone{'s' if count != 1 else ''} {'up' if semitones > 0 else 'down'}"


def _often(p_value: float) -> str:
    """'in 3 % of cases'."""
    return "in less than 0.1 % of cases" if p_value < 0.001 else f"in {100 * p_value:.2g} % of cases"
