"""What is measured of the autoencoder, on signals whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.evaluate.quality.codec import BANDS_HZ, attack_error, band_error, codec_rows, low_pass, si_sdr
from precompute.model.diffusion import Model
from support import tiny

RATE = 16_000


def sine(hz: float, level: float, seconds: float = 1.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)[None].astype(np.float32)


def test_si_sdr_of_known_noise_at_any_scale() -> None:
    rng = np.random.default_rng(0)
    clean, noise = rng.standard_normal((1, 50_000)), rng.standard_normal((1, 50_000))
    for scale in (1.0, 0.2, -3.0):
        assert si_sdr(clean, scale * (clean + 0.1 * noise)) == pytest.approx(20, abs=0.1)


def test_band_error_is_of_its_band_alone() -> None:
    fade = np.hanning(RATE)  # no clicks at the ends: they are of every band
    truth, quieter = (fade * (sine(500, 0.5) + sine(3000, level)) for level in (0.5, 0.25))
    assert band_error(truth, quieter, RATE, 2000, 4000) == pytest.approx(6.02, abs=0.2)
    assert band_error(truth, quieter, RATE, 0, 1000) < 0.2
    assert np.isnan(band_error(sine(500, 0.5), quieter, RATE, 6000, 8000))


def test_a_low_pass_keeps_what_is_below_and_nothing_above() -> None:
    low, high = sine(500, 0.5), sine(3000, 0.25)
    assert np.abs(low_pass(low + high, RATE, 1000) - low).max() < 1e-6
    assert si_sdr(low + high, low_pass(low + high, RATE, 1000)) == pytest.approx(10 * np.log10(4), abs=0.01)


def test_attack_error_is_of_the_attack() -> None:
    truth = sine(440, 0.5)
    truth[:, : RATE // 2] = 0
    late, wrong_later = truth.copy(), truth.copy()
    late[:, RATE // 2 : RATE // 2 + RATE // 10] = 0
    wrong_later[:, RATE // 2 + RATE // 10 :] = 0
    assert attack_error(truth, late, RATE) == pytest.approx(0, abs=0.1)
    assert attack_error(truth, wrong_later, RATE) < -100
    assert np.isnan(attack_error(truth[:, :10], truth[:, :10], RATE))


def test_rows_of_the_tiny_model(model: Model) -> None:
    waves = [tiny.tone(330, 1.0, 1)[None], tiny.tone(500, 3.0, 2)[None]]
    rows = {(row.measure, row.of): row for row in codec_rows(model, waves)}
    assert all(np.isfinite([row.value, row.low, row.high]).all() for row in rows.values())
    bands = [of for name, of in rows if name == "band_error_db"]
    assert bands == [f"{low}-{high} Hz" for low, high in BANDS_HZ[: len(bands)]] and bands
    assert rows["latent_deviation_least", "decoys"].value <= rows["latent_deviation_most", "decoys"].value
    again = {(row.measure, row.of): row for row in codec_rows(model, waves)}
    assert again == rows
