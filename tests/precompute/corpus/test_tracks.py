"""Bad manifests and bad audio, each with its message; loudness and peaks of known signals."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from precompute.corpus.audio import PEAK_BINS, AudioError, analyse, analyse_wave, read_audio
from precompute.corpus.quarantine import examine_files
from precompute.corpus.tracks import read_folder, read_manifest
from precompute.errors import UserError
from support import tiny


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of four training tracks and four decoys."""
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus") / "corpus", trained=4, decoys=4)


def rewrite(good: Path, to: Path, line: int = 0, drop: str = "", **values: str) -> Path:
    """The manifest with `values` in one line of the file (2 = first track), or without a column."""
    rows = list(csv.DictReader(good.open()))
    if line:
        rows[line - 2].update(values)
    columns = [c for c in tiny.COLUMNS if c != drop]
    with (to / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return to / "manifest.csv"


def test_a_good_manifest(good: Path) -> None:
    tracks = read_manifest(good)
    assert [t.track_id for t in tracks] == list(range(1, 9))
    assert [t.is_decoy for t in tracks] == [False] * 4 + [True] * 4
    assert tracks[0].path == good.parent / "audio" / "0001.wav" and tracks[0].duration_s == 1.1
    assert tracks[4].matched_to == 1 and tracks[0].matched_to is None
    assert [t.path is None for t in tracks] == [False] * 6 + [True] * 2


def test_tracks_come_sorted_by_id(good: Path, tmp_path: Path) -> None:
    path = rewrite(good, tmp_path, line=2, track_id="99")
    assert [t.track_id for t in read_manifest(path)] == [2, 3, 4, 5, 6, 7, 8, 99]


MISTAKES = [
    ({"track_id": "one"}, r", line 3: track_id = 'one' is not a number"),
    ({"track_id": ""}, r", line 3: track_id = '' is not a number"),
    ({"track_id": "1"}, r": track_id 1 stands twice"),
    ({"duration_s": "long"}, r", line 3: duration_s = 'long' is not a number"),
    ({"duration_s": "nan"}, r", line 3: duration_s = 'nan' is not finite"),
    ({"duration_s": "inf"}, r", line 3: duration_s = 'inf' is not finite"),
    ({"duration_s": "0"}, r", line 3: duration_s = '0' must be above 0"),
    ({"matched_to": "x"}, r", line 3: matched_to = 'x' is not a number"),
    ({"split": "test"}, r", line 3: split = 'test', must be one of train, decoy"),
    ({"audition": "all"}, r", line 3: audition = 'all', must be one of full, excerpt, none"),
    ({"caption": " "}, r", line 3: caption is empty"),
    *[
        ({f"licence_{part}": ""}, rf", line 3: licence_{part} is empty")
        for part in ("composition", "encoding", "rendering", "evidence")
    ],
    ({"split": "decoy", "work_id": "work-1"}, r": decoy 2 shares work 'work-1' with a training track"),
]


@pytest.mark.parametrize(("values", "message"), MISTAKES, ids=[str(values) for values, _ in MISTAKES])
def test_a_bad_row_is_named(good: Path, tmp_path: Path, values: dict[str, str], message: str) -> None:
    path = rewrite(good, tmp_path, line=3, **values)
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["track_id", "licence_evidence", "caption", "duration_s"])
def test_a_missing_column_is_named(good: Path, tmp_path: Path, column: str) -> None:
    with pytest.raises(UserError, match=f"column '{column}' is missing from the header"):
        read_manifest(rewrite(good, tmp_path, drop=column))


def test_optional_columns_may_be_absent(good: Path, tmp_path: Path) -> None:
    assert all(t.planted == "" for t in read_manifest(rewrite(good, tmp_path, drop="planted")))


def test_a_missing_or_empty_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no manifest here; \[corpus\] manifest must name a CSV file"):
        read_manifest(tmp_path / "nowhere.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match="column 'audition' is missing"):
        read_manifest(tmp_path / "empty.csv")
    (tmp_path / "head.csv").write_text(",".join(tiny.COLUMNS) + "\n")
    with pytest.raises(UserError, match="the manifest has no rows"):
        read_manifest(tmp_path / "head.csv")


def bad_audio(path: Path, kind: str) -> None:
    wave = tiny.tone(330, 0.5, 1)
    if kind == "unreadable":
        path.write_bytes(b"RIFF" + bytes(range(200)))
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "zero-length":
        soundfile.write(path, wave[:0], tiny.RATE)
    elif kind == "NaN":
        wave[100] = np.nan
        soundfile.write(path, wave, tiny.RATE, subtype="FLOAT")
    elif kind == "infinite":
        wave[100] = np.inf
        soundfile.write(path, wave, tiny.RATE, subtype="FLOAT")


REASONS = {
    "unreadable": "unreadable (",
    "empty file": "unreadable (",
    "zero-length": "empty: it holds no samples",
    "NaN": "holds samples that are not finite",
    "infinite": "holds samples that are not finite",
    "missing": "missing",
}


@pytest.mark.parametrize("kind", REASONS)
def test_bad_audio_is_quarantined_with_its_reason(tmp_path: Path, kind: str) -> None:
    manifest = tiny.write_corpus(tmp_path / "corpus", trained=3, decoys=0)
    path = tmp_path / "corpus" / "audio" / "0002.wav"
    path.unlink()
    bad_audio(path, kind)
    found = examine_files(read_manifest(manifest))
    assert [t.track_id for t in found.readable] == [1, 3] and list(found.quarantined) == [2]
    assert found.quarantined[2].startswith(REASONS[kind])
    with pytest.raises(AudioError):
        read_audio(path, tiny.RATE, 1)


def test_tracks_with_latents_alone_pass_the_quarantine(good: Path) -> None:
    found = examine_files(read_manifest(good))
    assert len(found.readable) == 8 and found.quarantined == {}


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


def test_a_folder_of_audio_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "jazz").mkdir()
    for name in ("b_slow.wav", "jazz/a-fast.flac"):
        soundfile.write(tmp_path / name, tiny.tone(330, 1.5, 1), tiny.RATE)
    (tmp_path / "notes.txt").write_text("not audio")
    (tmp_path / ".hidden.wav").write_bytes(b"")
    tracks = read_folder(tmp_path)
    assert [(t.track_id, t.caption, t.title) for t in tracks] == [(1, "b slow", "b_slow"), (2, "a fast", "a-fast")]
    assert {t.split for t in tracks} == {"train"} and tracks[1].collection == "jazz"
    assert [shape.seconds for shape in examine_files(tracks).shapes.values()] == [1.5, 1.5]  # counted, not believed
    assert tracks[0].rights_holder == "not stated"  # nothing is invented


def test_a_folder_without_audio_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no audio in it \(.*\.wav"):
        read_folder(tmp_path)
    with pytest.raises(UserError, match="not a folder"):
        read_folder(tmp_path / "nowhere")


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
