"""Gains: equally loud, never above full scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from explorer.sound.loudness import MAX_BOOST_DB, MAX_CUT_DB, match_gains
from explorer.store.records import SoundRecord

SOUND = SoundRecord(
    duration_s=4.0,
    audio_path="a.wav",
    of_clip=False,
    audition="full",
    loudness_lufs=-20.0,
    peak_dbfs=-6.0,
    peaks=(9,) * 40,
)


def test_gains_match_loudness_below_full_scale():
    loud = replace(SOUND, loudness_lufs=-8.0, peak_dbfs=-0.1)
    quiet = replace(SOUND, loudness_lufs=-33.0, peak_dbfs=-12.0)
    gains = match_gains([loud, quiet])
    assert loud.loudness_lufs + gains[0] == pytest.approx(quiet.loudness_lufs + gains[1])
    assert all(sound.peak_dbfs + gain <= 1e-9 for sound, gain in zip((loud, quiet), gains, strict=True))
    unknown = replace(SOUND, loudness_lufs=None)
    assert match_gains([unknown, unknown]) == [0.0, 0.0]
    assert match_gains([unknown, loud])[0] == 0.0
    assert match_gains([replace(SOUND, peak_dbfs=None, loudness_lufs=-40.0)]) == [0.0]


def test_no_gain_clips_whatever_the_levels():
    rng = np.random.default_rng(5)
    for _ in range(200):
        sounds = [
            replace(SOUND, loudness_lufs=float(rng.uniform(-70, -5)), peak_dbfs=float(rng.uniform(-40, 0)))
            for _ in range(rng.integers(1, 10))
        ]
        gains = match_gains(sounds)
        assert all(s.peak_dbfs + g <= 0.005 for s, g in zip(sounds, gains, strict=True))
        assert all(-MAX_CUT_DB <= g <= MAX_BOOST_DB for g in gains)
