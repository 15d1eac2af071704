"""Every format is read to the sample; loudness and peaks are right."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from precompute.corpus.audio import PEAK_BINS, AudioError, analyse, analyse_wave, blocks, read_audio, read_span, scan
from support import own_files, tiny


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "music"
    own_files.write_ten(folder)
    return folder


def test_spans_are_read_exactly(music: Path) -> None:
    for name in ("04_high_rate.flac", "02_apple.m4a", "01_plain.mp3", "05_vorbis.ogg"):
        whole, rate = read_span(music / name)
        part, _ = read_span(music / name, 0.5, 0.75)
        assert part.shape[1] == round(0.75 * rate) - round(0.5 * rate)
        assert np.allclose(part, whole[:, round(0.5 * rate) : round(0.75 * rate)], atol=2e-3), name
        assert scan(music / name).samples == whole.shape[1]
        assert sum(len(block) for _, block in blocks(music / name)) == whole.shape[1]


def test_m4a_holds_what_was_put_in(music: Path) -> None:
    wave = read_audio(music / "02_apple.m4a", 44_100, 2)
    wanted = own_files.wave_of(1.6, 44_100, 2, channels=2).T
    assert wave.shape[0] == 2 and abs(wave.shape[1] - wanted.shape[1]) < 4096
    lag = np.argmax(np.correlate(wave[0], wanted[0, 20_000:30_000], "valid")) - 20_000
    assert 0 <= lag < 3000  # the encoder's own delay
    part = wave[:, 20_000 + lag : 30_000 + lag]
    assert np.corrcoef(part[1], wanted[1, 20_000:30_000])[0, 1] > 0.99
    assert np.abs(part[1]).max() == pytest.approx(0.8 * np.abs(part[0]).max(), rel=0.1)


def test_without_av_an_m4a_says_what_to_do(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match="m4a needs the package av: pip install av, or convert it to FLAC"):
        scan(music / "02_apple.m4a")


@pytest.mark.parametrize("rate", [11_025, 44_100])
def test_another_sample_rate_keeps_length_and_pitch(tmp_path: Path, rate: int) -> None:
    time = np.arange(2 * rate) / rate
    soundfile.write(tmp_path / "sine.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate, subtype="FLOAT")
    wave = read_audio(tmp_path / "sine.wav", 8000, 1)
    assert wave.dtype == np.float32 and wave.shape[0] == 1 and abs(wave.shape[1] - 16_000) <= 1
    middle = wave[0, 4000:12_000]  # one second: bins of 1 Hz
    assert int(np.abs(np.fft.rfft(middle)).argmax()) == 440
    assert np.abs(middle).max() == pytest.approx(0.5, rel=0.02)


def test_stereo_becomes_mono_and_mono_stereo(tmp_path: Path) -> None:
    left, right = tiny.tone(330, 0.5, 1), tiny.tone(440, 0.5, 2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], 1), tiny.RATE, subtype="FLOAT")
    assert np.allclose(read_audio(tmp_path / "stereo.wav", tiny.RATE, 1)[0], (left + right) / 2, atol=1e-6)
    assert np.array_equal(read_audio(tmp_path / "stereo.wav", tiny.RATE, 2), np.stack([left, right]))
    soundfile.write(tmp_path / "mono.wav", left, tiny.RATE, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "mono.wav", tiny.RATE, 2), np.stack([left, left]))


def test_loudness_of_a_known_sine(tmp_path: Path) -> None:
    """BS.1770: a 997 Hz sine at full scale in one channel reads -3.01 LUFS; at -20 dBFS, -23.01."""
    rate = 48_000
    sine = 0.1 * np.sin(2 * np.pi * 997 * np.arange(3 * rate) / rate)
    soundfile.write(tmp_path / "sine.wav", sine, rate, subtype="FLOAT")
    found = analyse(tmp_path / "sine.wav")
    assert found.loudness_lufs == pytest.approx(-23.01, abs=0.1)
    assert found.peak_dbfs == pytest.approx(-20, abs=0.01) and found.duration_s == 3.0
    assert len(found.sha256) == 64


def test_loudness_of_what_is_too_short_or_silent_is_absent() -> None:
    short = analyse_wave(np.full((1, 3000), 0.5, np.float32), 8000, "")
    assert short.loudness_lufs is None and short.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    silent = analyse_wave(np.zeros((1, 16_000), np.float32), 8000, "")
    assert silent.loudness_lufs is None and math.isfinite(silent.peak_dbfs) and silent.peaks.max() == 0


def test_peaks_are_the_largest_magnitude_a_bin() -> None:
    wave = np.zeros((2, 10 * PEAK_BINS), np.float32)
    wave[0, 5], wave[1, 25], wave[0, -1] = -1.0, 0.5, 3.0  # the last beyond full scale
    peaks = analyse_wave(wave, 48_000, "").peaks
    assert peaks.shape == (PEAK_BINS,) and peaks.dtype == np.uint8
    assert (peaks[0], peaks[1], peaks[2], peaks[-1]) == (255, 0, 128, 255)
    assert peaks.astype(int).sum() == 255 + 128 + 255


def test_peaks_of_fewer_samples_than_bins() -> None:
    peaks = analyse_wave(np.array([[0.0, 1.0, 0.2]], np.float32), 8000, "").peaks
    assert peaks.tolist() == [0, 255, 51]
