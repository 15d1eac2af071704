"""Measures of the autoencoder, on signals whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.evaluate.quality import codec
from precompute.evaluate.quality.codec import (
    BANDS_HZ,
    RINGING_BANDS_HZ,
    apply_low_pass,
    find_patch_rate,
    measure_attack_error,
    measure_band_error,
    measure_codec,
    measure_contrast,
    measure_ringing,
    measure_si_sdr,
)
from precompute.model.diffusion import Model
from support import tiny

RATE = 16_000
PATCHED_RATE, PATCH = 32_000, 256
LINES_HZ = PATCHED_RATE / PATCH


def sine(hz: float, level: float, seconds: float = 1.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)[None].astype(np.float32)


def test_si_sdr_of_known_noise_at_any_scale() -> None:
    rng = np.random.default_rng(0)
    clean, noise = rng.standard_normal((1, 50_000)), rng.standard_normal((1, 50_000))
    for scale in (1.0, 0.2, -3.0):
        assert measure_si_sdr(clean, scale * (clean + 0.1 * noise)) == pytest.approx(20, abs=0.1)


def test_band_error_is_of_its_band_alone() -> None:
    fade = np.hanning(RATE)  # no clicks at the ends: they are of every band
    truth, quieter = (fade * (sine(500, 0.5) + sine(3000, level)) for level in (0.5, 0.25))
    assert measure_band_error(truth, quieter, RATE, 2000, 4000) == pytest.approx(6.02, abs=0.2)
    assert measure_band_error(truth, quieter, RATE, 0, 1000) < 0.2
    assert np.isnan(measure_band_error(sine(500, 0.5), quieter, RATE, 6000, 8000))


def test_a_low_pass_keeps_what_is_below_and_nothing_above() -> None:
    low, high = sine(500, 0.5), sine(3000, 0.25)
    assert np.abs(apply_low_pass(low + high, RATE, 1000) - low).max() < 1e-6
    assert measure_si_sdr(low + high, apply_low_pass(low + high, RATE, 1000)) == pytest.approx(
        10 * np.log10(4), abs=0.01
    )


def test_attack_error_is_of_the_attack() -> None:
    truth = sine(440, 0.5)
    truth[:, : RATE // 2] = 0
    late, wrong_later = truth.copy(), truth.copy()
    late[:, RATE // 2 : RATE // 2 + RATE // 10] = 0
    wrong_later[:, RATE // 2 + RATE // 10 :] = 0
    assert measure_attack_error(truth, late, RATE) == pytest.approx(0, abs=0.1)
    assert measure_attack_error(truth, wrong_later, RATE) < -100
    assert np.isnan(measure_attack_error(truth[:, :10], truth[:, :10], RATE))


def test_rows_of_the_tiny_model(model: Model) -> None:
    waves = [tiny.tone(330, 1.0, 1)[None], tiny.tone(500, 3.0, 2)[None]]
    rows = {(row.measure, row.of): row for row in measure_codec(model, waves)}
    assert all(np.isfinite([row.value, row.low, row.high]).all() for row in rows.values())
    bands = [of for name, of in rows if name == "band_error_db"]
    assert bands == [f"{low}-{high} Hz" for low, high in BANDS_HZ[: len(bands)]] and bands
    assert rows["latent_deviation_least", "decoys"].value <= rows["latent_deviation_most", "decoys"].value
    again = {(row.measure, row.of): row for row in measure_codec(model, waves)}
    assert again == rows


# -- ringing at the rate of a decoder's patches ----------------------------------------------------------------------


def noise(seed: int, seconds: float = 4.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * PATCHED_RATE)).astype(np.float32)


def test_noise_does_not_ring() -> None:
    for low, high in RINGING_BANDS_HZ:
        assert abs(measure_contrast(noise(0), PATCHED_RATE, LINES_HZ, low, high)) < 0.5


def test_a_pattern_repeated_in_every_patch_is_found_in_its_band() -> None:
    time = np.arange(4 * PATCHED_RATE) / PATCHED_RATE
    lines = sum(np.sin(2 * np.pi * k * LINES_HZ * time) for k in range(17, 48))  # 2,125 to 5,875 Hz
    waves = [(noise(0) + level * lines).astype(np.float32) for level in (0.1, 0.2)]
    found = [measure_contrast(wave, PATCHED_RATE, LINES_HZ, 2000, 6000) for wave in waves]
    assert found[0] > 20 and found[1] - found[0] == pytest.approx(6, abs=0.5)
    assert abs(measure_contrast(waves[0], PATCHED_RATE, LINES_HZ, 6000, 12000)) < 0.5


def test_level_and_silence_change_no_ringing() -> None:
    assert measure_contrast(noise(0), PATCHED_RATE, LINES_HZ, 500, 2000) == pytest.approx(
        measure_contrast(0.01 * noise(0), PATCHED_RATE, LINES_HZ, 500, 2000), abs=1e-3
    )
    assert measure_contrast(np.zeros(10, np.float32), PATCHED_RATE, LINES_HZ, 500, 2000) == 0
    assert np.isnan(measure_contrast(noise(0), PATCHED_RATE, LINES_HZ, 20_000, 30_000))


def test_ringing_rows_of_the_tiny_model(model: Model, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert find_patch_rate(model) == 100
    wave = tiny.tone(330, 2.0, 1)[None]
    rows = measure_ringing(model, {"decoys": [wave, wave], "clips": [wave]})
    assert [(row.space, row.of) for row in rows] == [
        (f"{low}-{high} Hz", of) for low, high in RINGING_BANDS_HZ[:2] for of in ("decoys", "clips")
    ]  # half the sample rate is below the third band
    assert rows[0].value == rows[1].value == pytest.approx(rows[0].low)
    monkeypatch.setattr(codec, "find_patch_rate", lambda model: None)
    assert measure_ringing(model, {"clips": [wave]}) == [] and "not measured" in capsys.readouterr().out
