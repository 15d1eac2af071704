"""Stored sounds -> what the player draws and plays. Pure functions; seconds, LUFS, dBFS, dB."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from explorer.audio import EXCERPT_S, heard_s, refusal
from explorer.store import Moments, Sound

BINS = 600  # bars of a waveform; more cannot be seen and would swell the payload
TARGET_LUFS = -18.0  # no louder than this, however much headroom there is
MAX_BOOST_DB, MAX_CUT_DB = 20.0, 40.0
STRIP_BINS = 300


def matched_gains(sounds: list[Sound]) -> list[float]:
    """Gain of each sound, dB, so that all are equally loud and none passes 0 dBFS; 0 if loudness is unknown.

    The common level is the loudest that every sound reaches without clipping, at most TARGET_LUFS. A sound
    whose peak was not stored is taken to peak at 0 dBFS, so it is only ever turned down.
    """
    known = [(sound.loudness_lufs, sound.peak_dbfs or 0.0) for sound in sounds if sound.loudness_lufs is not None]
    if not known:
        return [0.0] * len(sounds)
    target = min(TARGET_LUFS, *(loudness - peak for loudness, peak in known))
    gains = []
    for sound in sounds:
        if sound.loudness_lufs is None:
            gains.append(0.0)
            continue
        gain = min(target - sound.loudness_lufs, -(sound.peak_dbfs or 0.0))
        gains.append(round(max(-MAX_CUT_DB, min(MAX_BOOST_DB, gain)), 2))
    return gains


def binned(values: list[float], bins: int) -> list[float]:
    """At most `bins` values, each the largest of its stretch: a short peak stays visible."""
    if len(values) <= bins:
        return values
    edges = [round(i * len(values) / bins) for i in range(bins + 1)]
    return [max(values[a:b]) for a, b in pairwise(edges)]


def heard_part(values: list[float], sound: Sound) -> list[float]:
    """The part of `values` (evenly spread over the whole sound) that a listener gets."""
    return values[: max(1, round(len(values) * heard_s(sound) / sound.duration_s))]


def lane(url: str, title: str, note: str, sound: Sound, gain_db: float) -> dict[str, Any]:
    """One lane of the player. `refused` says why nothing can be played, else it is None."""
    heard = heard_s(sound)
    cut = sound.audition == "excerpt" and sound.duration_s > EXCERPT_S
    excerpt = f"the first {EXCERPT_S:.0f} s of {sound.duration_s:.0f} s" if cut else ""
    return {
        "url": url,
        "title": title,
        "note": " · ".join(part for part in (note, excerpt) if part),
        "refused": refusal(sound),
        "duration_s": round(heard, 3),
        "gain_db": gain_db,
        "peaks": binned(heard_part(list(sound.peaks), sound), BINS) if sound.peaks else [],
    }


def strip(moments: Moments, sound: Sound, above_noise: bool) -> dict[str, Any] | None:
    """Influence over the heard part of a track: 0..1 of its largest value, and where that is (seconds).

    None where nothing is positive: there is no most influential moment then.
    """
    count = max(1, round(heard_s(sound) * moments.rate_hz))
    values = [max(0.0, value) for value in moments.influence[:count]]
    if not values or max(values) <= 0:
        return None
    largest = max(values)
    return {
        "values": [round(value / largest, 3) for value in binned(values, STRIP_BINS)],
        "length_s": round(len(values) / moments.rate_hz, 3),
        "peak_s": round(values.index(largest) / moments.rate_hz, 3),
        "above_noise": above_noise,
    }
