"""Spectrograms against tones of known frequency."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from explorer.sound import spectrogram


@pytest.mark.parametrize("hertz", [110.0, 880.0, 5000.0])
def test_a_tone_is_a_line_at_its_frequency(hertz):
    rate = 24_000
    t = np.arange(2 * rate) / rate
    found = spectrogram.measure_levels((0.3 * np.sin(2 * np.pi * hertz * t)).astype("float32"), rate)
    row = found.mean(1).argmax()
    edges = np.geomspace(spectrogram.LOW_HZ, rate / 2, spectrogram.HEIGHT + 1)[::-1]  # low tones last
    resolution = 1 / spectrogram.WINDOW_S
    assert edges[row + 1] - resolution <= hertz <= edges[row] + resolution
    assert found.max() == 1.0 and np.median(found) < 0.3


def test_silence_is_dark_and_time_runs_to_the_right():
    rate = 8_000
    assert spectrogram.measure_levels(np.zeros(rate, "float32"), rate).max() == 0
    burst = np.zeros(4 * rate, "float32")
    burst[3 * rate : int(3.2 * rate)] = np.sin(np.arange(int(0.2 * rate)))
    columns = spectrogram.measure_levels(burst, rate).max(0)
    assert columns.argmax() / len(columns) == pytest.approx(0.77, abs=0.04)
    assert columns[: len(columns) // 2].max() == 0


def test_spectrograms_come_by_id_under_the_same_rules(client, made):
    got = client.get("/spectrogram/track/12")
    assert got.status_code == 200 and got.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(got.content))
    assert picture.height == spectrogram.HEIGHT and picture.width <= spectrogram.WIDTH
    assert client.get("/spectrogram/clip/1").status_code == 200
    for track, status in ((made.FORBIDDEN, 403), (made.MISSING, 404), (made.ESCAPING, 404), (made.BROKEN, 404)):
        refused = client.get(f"/spectrogram/track/{track}")
        assert refused.status_code == status and "detail" in refused.json()
    for path in ("track/999", "secret/1", "track/..%2f1", "track", "track/1/2"):
        assert client.get(f"/spectrogram/{path}").status_code == 404
