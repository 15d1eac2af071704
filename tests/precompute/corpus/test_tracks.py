"""Manifests and folders become tracks; every mistake is named."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from precompute.config.run import CorpusSection
from precompute.corpus.examination import examine_files
from precompute.corpus.intake import choose_decoys
from precompute.corpus.tracks import read_folder, read_manifest
from precompute.errors import UserError
from support import tiny
from support.corpora import make_track


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


def test_decoys_of_tracks_and_of_captions_are_thinned_apart() -> None:
    matched = [replace(make_track(i, "decoy"), matched_to=1) for i in range(6)]
    captioned = [replace(make_track(10 + i, "decoy"), caption=f"c{i % 2}") for i in range(8)]
    section = CorpusSection(folder="x", decoys=3, caption_decoys=2)
    assert choose_decoys([make_track(50), *matched, *captioned], section) == {0, 2, 4, 10, 14, 11, 15}
    assert choose_decoys([make_track(50), *captioned], section) == {
        10,
        12,
        15,
    }  # none matches a track: thinned together
    assert choose_decoys([*matched, *captioned], CorpusSection(folder="x")) == {*range(6), *range(10, 18)}
