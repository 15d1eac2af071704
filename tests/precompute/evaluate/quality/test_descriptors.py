"""Descriptors on sounds whose onsets and pitches are known, and on sounds that hardly are any."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.evaluate.quality.descriptors import (
    PITCH_CLASSES,
    compute_chroma,
    compute_descriptors,
    compute_log_mel,
    measure_onset_rate,
    measure_pitch_classes,
)

RATES = (8000, 24_000, 32_000)


def sine(frequency_hz: float, seconds: float, rate: int, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def clicks(each_s: float, seconds: float, rate: int, level: float = 0.5) -> np.ndarray:
    """Short bursts of noise, the first after half a distance."""
    wave = np.zeros(int(seconds * rate), dtype=np.float32)
    burst = level * np.random.default_rng(0).standard_normal(rate // 100) * np.hanning(rate // 100)
    for start in np.arange(each_s / 2, seconds - 0.02, each_s):
        wave[int(start * rate) : int(start * rate) + len(burst)] = burst
    return wave


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("each_s", "level"), [(0.5, 0.5), (0.2, 0.5), (0.5, 0.005)])
def test_onset_rate_of_clicks(each_s: float, level: float, rate: int) -> None:
    assert measure_onset_rate(clicks(each_s, 6, rate, level), rate) == pytest.approx(1 / each_s, rel=0.05)


def test_a_held_note_has_no_onsets() -> None:
    assert measure_onset_rate(sine(220, 4, 24_000), 24_000) == 0


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("frequency_hz", "name"), [(440, "A"), (220, "A"), (880, "A"), (261.63, "C"), (369.99, "F♯")])
def test_pitch_class_of_a_pure_tone(frequency_hz: float, name: str, rate: int) -> None:
    histogram = measure_pitch_classes(sine(frequency_hz, 2, rate), rate)
    assert histogram.sum() == pytest.approx(1, rel=1e-12) and histogram.min() >= 0
    assert PITCH_CLASSES[int(histogram.argmax())] == name


def test_a_chord_has_its_three_pitch_classes() -> None:
    wave = sine(261.63, 2, 24_000) + sine(329.63, 2, 24_000) + sine(392.0, 2, 24_000)
    best = np.argsort(measure_pitch_classes(wave, 24_000))[-3:]
    assert {PITCH_CLASSES[i] for i in best} == {"C", "E", "G"}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("samples", [0, 1, 7, 400, 3600, 48_000])
@pytest.mark.parametrize("level", [0.0, 0.001, 1.0])
def test_all_is_finite_however_short_or_silent(samples: int, level: float, rate: int) -> None:
    wave = (level * np.random.default_rng(0).uniform(-1, 1, samples)).astype(np.float32)
    found = compute_descriptors(wave, rate)
    assert found.shape == (195,) and found.dtype == np.float64 and np.isfinite(found).all()
    assert np.isfinite(measure_onset_rate(wave, rate)) and measure_onset_rate(wave, rate) >= 0
    assert measure_pitch_classes(wave, rate).sum() == pytest.approx(1, rel=1e-9)


def test_silence() -> None:
    wave = np.zeros(24_000, dtype=np.float32)
    assert measure_onset_rate(wave, 24_000) == 0 and np.allclose(measure_pitch_classes(wave, 24_000), 1 / 12)
    assert np.all(compute_log_mel(wave, 24_000, 40) == pytest.approx(-90, abs=1e-3))


def test_levels_are_of_full_scale() -> None:
    for rate in RATES:
        mel = compute_log_mel(sine(1000, 1, rate, level=1.0), rate, 40)
        middle = mel[:, mel.shape[1] // 2]
        assert middle.max() == pytest.approx(0, abs=6)  # a band's filter can miss the peak
        quieter = compute_log_mel(sine(1000, 1, rate, level=0.1), rate, 40)[:, mel.shape[1] // 2]
        assert middle.max() - quieter.max() == pytest.approx(20, abs=0.1)


def test_descriptors_do_not_depend_on_when() -> None:
    """One wave twice is one vector, and a tone differs from noise in it."""
    tone, noise = sine(440, 1, 24_000), np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    assert np.array_equal(compute_descriptors(tone, 24_000), compute_descriptors(tone.copy(), 24_000))
    assert np.abs(compute_descriptors(tone, 24_000) - compute_descriptors(noise, 24_000)).max() > 10
    assert compute_chroma(tone, 24_000).shape[0] == 12
