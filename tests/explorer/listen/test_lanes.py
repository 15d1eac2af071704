"""Waveforms and strips of the player."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace

from explorer.listen import lanes
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


def test_excerpt_lane_shows_what_is_heard():
    long = replace(SOUND, duration_s=60.0, audition="excerpt", peaks=tuple(range(200)))
    lane = lanes.describe_lane("track", 7, "t", "n", long, 0.0, None)
    assert lane["duration_s"] == 15.0 and list(b64decode(lane["peaks"])) == list(range(50))
    assert lane["note"] == "n · the first 15 s of 60 s" and lane["url"] == "/audio/track/7"
    assert lanes.describe_lane("clip", 7, "t", "n", long, 0.0, None)["key"] == "clip"


def test_a_long_waveform_keeps_its_peaks():
    peaks = [0] * 5000
    peaks[1234] = 255
    drawn = b64decode(lanes.describe_lane("track", 1, "", "", replace(SOUND, peaks=tuple(peaks)), 0.0, None)["peaks"])
    assert len(drawn) == lanes.PEAK_BINS and max(drawn) == 255


def test_strip_finds_the_moment_within_what_is_heard():
    influence = (0.0, 0.5, -1.0, 0.25, *([9.0] * 100))
    found = lanes.describe_strip(TrackMoments(1.0, influence), SOUND)
    assert found is not None and found["length_s"] == 4.0 and found["peak_s"] == 1.0
    assert list(b64decode(found["values"])) == [0, 255, 0, 128]
    assert lanes.describe_strip(TrackMoments(1.0, (-1.0, 0.0)), SOUND) is None


def test_strip_over_the_clip():
    found = lanes.describe_clip_strip((1.0, -2.0, 4.0), 0.5)
    assert found is not None and found["length_s"] == 1.5 and list(b64decode(found["values"])) == [64, 0, 255]
    assert lanes.describe_clip_strip((), 0.5) is None and lanes.describe_clip_strip((-1.0,), 0.5) is None
