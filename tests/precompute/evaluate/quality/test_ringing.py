"""Ringing at the rate of a decoder's patches, on signals whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.evaluate.quality import ringing
from precompute.evaluate.quality.ringing import BANDS_HZ, contrast, patch_rate, ringing_rows
from precompute.model.diffusion import Model
from support import tiny

RATE, PATCH = 32_000, 256
LINES_HZ = RATE / PATCH


def noise(seed: int, seconds: float = 4.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)


def test_noise_has_none() -> None:
    for low, high in BANDS_HZ:
        assert abs(contrast(noise(0), RATE, LINES_HZ, low, high)) < 0.5


def test_a_pattern_repeated_in_every_patch_is_found_in_its_band() -> None:
    time = np.arange(4 * RATE) / RATE
    lines = sum(np.sin(2 * np.pi * k * LINES_HZ * time) for k in range(17, 48))  # 2,125 to 5,875 Hz
    waves = [(noise(0) + level * lines).astype(np.float32) for level in (0.1, 0.2)]
    found = [contrast(wave, RATE, LINES_HZ, 2000, 6000) for wave in waves]
    assert found[0] > 20 and found[1] - found[0] == pytest.approx(6, abs=0.5)
    assert abs(contrast(waves[0], RATE, LINES_HZ, 6000, 12000)) < 0.5


def test_level_and_silence_change_nothing() -> None:
    assert contrast(noise(0), RATE, LINES_HZ, 500, 2000) == pytest.approx(
        contrast(0.01 * noise(0), RATE, LINES_HZ, 500, 2000), abs=1e-3
    )
    assert contrast(np.zeros(10, np.float32), RATE, LINES_HZ, 500, 2000) == 0
    assert np.isnan(contrast(noise(0), RATE, LINES_HZ, 20_000, 30_000))


def test_rows_of_the_tiny_model(model: Model, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert patch_rate(model) == 100
    wave = tiny.tone(330, 2.0, 1)[None]
    rows = ringing_rows(model, {"decoys": [wave, wave], "clips": [wave]})
    assert [(row.space, row.of) for row in rows] == [
        (f"{low}-{high} Hz", of) for low, high in BANDS_HZ[:2] for of in ("decoys", "clips")
    ]  # half the sample rate is below the third band
    assert rows[0].value == rows[1].value == pytest.approx(rows[0].low)
    monkeypatch.setattr(ringing, "patch_rate", lambda model: None)
    assert ringing_rows(model, {"clips": [wave]}) == [] and "not measured" in capsys.readouterr().out
