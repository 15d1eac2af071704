"""Gains that make sounds equally loud. Pure functions; LUFS, dBFS, dB."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.store.records import SoundRecord

TARGET_LUFS = -18.0  # no louder than this, however much headroom there is
MAX_BOOST_DB, MAX_CUT_DB = 20.0, 40.0


def match_gains(sounds: Sequence[SoundRecord]) -> list[float]:
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


def limit_gain(loudness_lufs: float | None) -> float:
    """Gain in dB, at most 0, of a sound heard by itself: no louder than TARGET_LUFS; 0 if loudness is unknown."""
    return 0.0 if loudness_lufs is None else min(0.0, round(TARGET_LUFS - loudness_lufs, 2))
