"""Loudness, waveforms and strips of the player; spectrograms against tones of known frequency."""

from __future__ import annotations

import io
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from explorer.listen import lanes
from explorer.sound import spectrogram
from explorer.sound.loudness import MAX_BOOST_DB, MAX_CUT_DB, match_gains
from explorer.store.records import SoundRecord, TrackMoments

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


def test_excerpt_lane_shows_what_is_heard():
    long = replace(SOUND, duration_s=60.0, audition="excerpt", peaks=tuple(range(200)))
    lane = lanes.lane("track", 7, "t", "n", long, 0.0, None)
    assert lane["duration_s"] == 15.0 and list(b64decode(lane["peaks"])) == list(range(50))
    assert lane["note"] == "n · the first 15 s of 60 s" and lane["url"] == "/audio/track/7"
    assert lanes.lane("clip", 7, "t", "n", long, 0.0, None)["key"] == "clip"


def test_a_long_waveform_keeps_its_peaks():
    peaks = [0] * 5000
    peaks[1234] = 255
    drawn = b64decode(lanes.lane("track", 1, "", "", replace(SOUND, peaks=tuple(peaks)), 0.0, None)["peaks"])
    assert len(drawn) == lanes.PEAK_BINS and max(drawn) == 255


def test_strip_finds_the_moment_within_what_is_heard():
    influence = (0.0, 0.5, -1.0, 0.25, *([9.0] * 100))
    found = lanes.strip(TrackMoments(1.0, influence), SOUND)
    assert found is not None and found["length_s"] == 4.0 and found["peak_s"] == 1.0
    assert list(b64decode(found["values"])) == [0, 255, 0, 128]
    assert lanes.strip(TrackMoments(1.0, (-1.0, 0.0)), SOUND) is None


def test_strip_over_the_clip():
    found = lanes.clip_strip((1.0, -2.0, 4.0), 0.5)
    assert found is not None and found["length_s"] == 1.5 and list(b64decode(found["values"])) == [64, 0, 255]
    assert lanes.clip_strip((), 0.5) is None and lanes.clip_strip((-1.0,), 0.5) is None


@pytest.mark.parametrize("hertz", [110.0, 880.0, 5000.0])
def test_a_tone_is_a_line_at_its_frequency(hertz):
    rate = 24_000
    t = np.arange(2 * rate) / rate
    found = spectrogram.levels((0.3 * np.sin(2 * np.pi * hertz * t)).astype("float32"), rate)
    row = found.mean(1).argmax()
    edges = np.geomspace(spectrogram.LOW_HZ, rate / 2, spectrogram.HEIGHT + 1)[::-1]  # low tones last
    resolution = 1 / spectrogram.WINDOW_S
    assert edges[row + 1] - resolution <= hertz <= edges[row] + resolution
    assert found.max() == 1.0 and np.median(found) < 0.3


def test_silence_is_dark_and_time_runs_to_the_right():
    rate = 8_000
    assert spectrogram.levels(np.zeros(rate, "float32"), rate).max() == 0
    burst = np.zeros(4 * rate, "float32")
    burst[3 * rate : int(3.2 * rate)] = np.sin(np.arange(int(0.2 * rate)))
    columns = spectrogram.levels(burst, rate).max(0)
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


def test_fonts_come_from_here(client):
    got = client.get("/static/whence/inter-latin.woff2")
    assert got.status_code == 200 and got.headers["content-type"] == "font/woff2" and got.content[:4] == b"wOF2"
    assert client.get("/static/whence/LICENSE").status_code == 404
    assert client.get("/static/whence/..%2fschema.sql").status_code == 404
