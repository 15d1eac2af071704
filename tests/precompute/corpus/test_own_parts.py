"""Windows, tags, manifests and the reading of every format."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from precompute.corpus.audio import AudioError, blocks, read_audio, read_span, scan
from precompute.corpus.tags import read_tags
from precompute.corpus.tracks import read_folder, read_manifest
from precompute.corpus.windows import format_clock, place_windows
from precompute.errors import UserError
from support import own_files, tiny


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "music"
    own_files.write_ten(folder)
    return folder


@pytest.mark.parametrize(
    ("seconds", "most", "wanted"),
    [
        (1.0, 4, [(0, 1)]),
        (10.0, 4, [(0, 10)]),
        (10.4, 4, [(0, 10)]),  # up to 5 % more is not worth a second window
        (15.0, 4, [(0, 10), (5, 15)]),
        (40.0, 3, [(0, 10), (15, 25), (30, 40)]),
        (7200.0, 2, [(0, 10), (7190, 7200)]),
        (40.0, 1, [(0, 10)]),
    ],
)
def test_windows_are_spread_evenly(seconds: float, most: int, wanted: list[tuple[float, float]]) -> None:
    assert np.allclose(place_windows(seconds, 10.0, most), wanted)


def test_clock_times() -> None:
    assert [format_clock(s) for s in (0, 1.5, 65.2, 3661)] == ["0:00", "0:01.5", "1:05", "1:01:01"]


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


def test_tags_of_m4a_and_of_nothing(tmp_path: Path, music: Path) -> None:
    wave = own_files.wave_of(0.5, 44_100, 1)
    own_files.write_m4a(tmp_path / "a.m4a", wave, 44_100, title="A title", artist="One; Two", composer="Three")
    tags = read_tags(tmp_path / "a.m4a")
    assert tags.title == "A title" and tags.composer == "Three"
    assert set(tags.holders) == {("Three", "composer"), ("One", "performer"), ("Two", "performer")}
    for name in ("09_cut.flac", "10_text.m4a", "03_eight_bit.wav"):
        assert read_tags(music / name).holders == ()
    assert [t.title for t in read_folder(music)][7] == "Morning ${alert(1)}"


def test_a_parquet_manifest_reads_as_its_csv(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    manifest = tiny.write_corpus(tmp_path / "corpus", trained=3, decoys=2)
    table = list(csv.DictReader(manifest.open()))
    for row in table:
        row.update(isrc="", iswc="", holders="")
    table[0].update(isrc="GB-AYE-69-00531", iswc="T-034.524.680-1", holders="composer: A; composer: B; label: C")
    with manifest.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    typed = [{**row, "track_id": int(row["track_id"]), "duration_s": float(row["duration_s"])} for row in table]
    for row in typed:
        row["matched_to"] = int(row["matched_to"]) if row["matched_to"] else None
        row["holders"] = []
    typed[0]["holders"] = [{"holder": h, "role": r} for r, h in (("composer", "A"), ("composer", "B"), ("label", "C"))]
    path = manifest.with_name("manifest.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(typed), path)
    found = read_manifest(path)
    assert found == read_manifest(manifest)
    assert (
        found[0].holders == (("A", "composer"), ("B", "composer"), ("C", "label")) and found[0].isrc == "GBAYE6900531"
    )
    shutil.copy(manifest, path)
    with pytest.raises(UserError, match=r"manifest.parquet: is not a Parquet file"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("isrc", "123", r"line 2: isrc = '123' is not an ISRC"),
        ("iswc", "x", r"line 2: iswc = 'x' is not an ISWC"),
        ("holders", "Somebody", r"line 2: holders = 'Somebody' must read 'role: name; role: name'"),
    ],
)
def test_bad_rights_are_named(tmp_path: Path, column: str, value: str, message: str) -> None:
    manifest = tiny.write_corpus(tmp_path / "corpus", trained=1, decoys=0)
    table = [{**row, column: value} for row in csv.DictReader(manifest.open())]
    with manifest.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    with pytest.raises(UserError, match=message):
        read_manifest(manifest)
