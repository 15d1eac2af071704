"""The corpus of tunes keeps its promises: notation, counts, families, planted cases. Only the rebuild needs music21."""

from __future__ import annotations

import csv
import functools
import importlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from precompute.corpus.tracks import read_manifest

TUNES = Path(__file__).resolve().parents[2] / "data" / "tunes"
TABLES = ("manifest", "settings", "unheard")
Row = dict[str, str]


@functools.cache
def load(name: str) -> ModuleType:
    """A module of data/tunes/, which is no package: its modules import each other by name."""
    sys.path.insert(0, str(TUNES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TUNES))


@functools.cache
def read_rows(table: str = "manifest") -> list[Row]:
    with (TUNES / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def read_tunes() -> dict[str, dict[str, str]]:
    """track_id -> fields of the tune and, under `body`, its notes."""
    tunes = {}
    for text in re.split(r"(?m)^(?=X:)", (TUNES / "tunes.abc").read_text(encoding="utf-8"))[1:]:
        lines = text.strip().split("\n")
        last = next(k for k, line in enumerate(lines) if line.startswith("K:"))
        fields = {line[0]: line[2:] for line in lines[: last + 1]}
        assert fields["X"] not in tunes
        tunes[fields["X"]] = {**fields, "body": "\n".join(lines[last + 1 :])}
    return tunes


@functools.cache
def read_melody(track_id: str) -> Any:
    tune = read_tunes()[track_id]
    return load("notation").read_melody("".join(f"{k}:{tune[k]}\n" for k in "XTMLK") + tune["body"])


def every_row() -> list[Row]:
    return [row for table in TABLES for row in read_rows(table)]


def ordinary(split: str) -> list[Row]:
    return [r for r in read_rows() if r["split"] == split and not r["planted"]]


def stratum(row: Row) -> tuple[str, ...]:
    """Book, rhythm, metre, mode."""
    tune = read_tunes()[row["track_id"]]
    return row["collection"], tune.get("R", ""), tune["M"], re.sub("^[A-G][b#]?", "", tune["K"])


# The files


def test_manifests_are_read() -> None:
    tracks = read_manifest(TUNES / "manifest.csv")
    assert [str(t.track_id) for t in tracks] == [r["track_id"] for r in read_rows()]
    assert all(t.path is None and t.audition == "full" for t in tracks)
    assert {t.planted for t in read_manifest(TUNES / "settings.csv")} == {"setting"}
    assert {t.planted for t in read_manifest(TUNES / "unheard.csv")} == {"rare"}


def test_ids_and_titles_agree() -> None:
    rows, tunes = every_row(), read_tunes()
    assert [int(r["track_id"]) for r in rows] == list(range(1, len(rows) + 1)) == list(map(int, tunes))
    assert all(r["title"] == tunes[r["track_id"]]["T"] for r in rows)
    for tune in tunes.values():
        assert set(tune) - {"R"} == {"X", "T", "M", "L", "K", "body"}


def test_files_are_small() -> None:
    assert sum((TUNES / name).stat().st_size for name in ("tunes.abc", *(f"{t}.csv" for t in TABLES))) < 850_000


def test_notation_has_one_spelling() -> None:
    """Reading a tune and writing it again changes nothing; its unit is its most common length."""
    for track_id, tune in read_tunes().items():
        melody = read_melody(track_id)
        assert melody.format() == tune["body"], track_id
        assert (melody.metre, melody.unit, str(melody.key)) == (tune["M"], Fraction(tune["L"]), tune["K"])


def test_lengths_and_vocabulary() -> None:
    list_symbols = load("notation").list_symbols
    bodies = [list_symbols(tune["body"]) for tune in read_tunes().values()]
    assert all(60 <= len(body) <= 300 for body in bodies)
    count = Counter(symbol for body in bodies for symbol in body)
    frequent = {symbol for symbol, number in count.items() if number >= 8}
    assert 50 <= len(frequent) <= 70
    assert sum(count[s] for s in frequent) > 0.999 * count.total()
    assert {"|", "|:", ":|", "::", "|1", ":|2", "||", "|]", "(3", "-", "z", "2", "/2", "3/2"} <= frequent


def test_bars_add_up() -> None:
    """Full bars within a part. A short one stands where a part begins or ends, and mostly has a partner."""
    outer = paired = 0
    for track_id in read_tunes():
        melody = read_melody(track_id)
        assert melody.find_irregular_bars() == [], track_id
        lengths, full = melody.measure_bars(), melody.bar_length
        assert max(lengths) <= full
        short = [length for length in lengths if length < full]
        outer += len(short)
        paired += sum(full - length in short for length in short)
    assert outer and paired / outer > 0.85


def test_captions_say_what_the_notation_says() -> None:
    for row in every_row():
        tune, melody = read_tunes()[row["track_id"]], read_melody(row["track_id"])
        rhythm = tune.get("R", "tune")
        article = "an" if rhythm[0] in "aeiou" else "a"
        assert row["caption"] == f"{article} {rhythm} in {tune['M']} in {melody.key.name}"
        assert 5 < float(row["duration_s"]) < 200
    compound = {"jig": "6/8", "slip jig": "9/8"}
    assert all(t["M"] == compound[t["R"]] for t in read_tunes().values() if t.get("R") in compound)


# Rights


def test_every_row_says_what_is_known_of_rights() -> None:
    for row in every_row():
        for column in row:
            if column.startswith("licence_") or column in ("rights_holder", "source", "composer", "work_id"):
                assert row[column].strip(), f"{row['track_id']}: {column} is empty"
        assert re.fullmatch(r"public domain \(print of (1883|1903)\)", row["licence_composition"])
        assert row["licence_composition"][-5:-1] == row["collection"][-5:-1]
        assert not re.search(r"\S@\S|www\.|https?:", row["licence_evidence"]), row["licence_evidence"]


# Families and split


def test_counts() -> None:
    assert len(ordinary("train")) >= 800 and len(ordinary("decoy")) >= 500
    planted = Counter(r["planted"] for r in read_rows() if r["planted"])
    assert planted == {"weighted": 14, "twin": 14, "rare": 5}
    assert len(read_rows("settings")) == 40 and len(read_rows("unheard")) == 4


def test_families_never_straddle_the_split() -> None:
    works = {s: {r["work_id"] for r in read_rows() if r["split"] == s} for s in ("train", "decoy")}
    assert not works["train"] & works["decoy"]
    assert len(works["train"]) + len(works["decoy"]) == len(read_rows())  # one tune a family
    assert not {r["work_id"] for r in read_rows("unheard")} & (works["train"] | works["decoy"])
    kept = {r["work_id"] for r in read_rows("settings")}
    assert len(kept) == 40 and kept <= works["train"]


def test_no_title_or_body_is_on_both_sides() -> None:
    sides = {s: [r for r in read_rows() if r["split"] == s] for s in ("train", "decoy")}
    sides["decoy"] = sides["decoy"] + read_rows("unheard")
    for name in ("title", "body"):
        of = {s: {read_tunes()[r["track_id"]].get(name, r.get(name)) for r in sides[s]} for s in sides}
        assert not of["train"] & of["decoy"], name
    bodies = Counter(tune["body"] for tune in read_tunes().values())
    assert max(bodies.values()) == 1  # settings included


def test_no_decoy_sounds_like_a_trained_tune() -> None:
    """Aligned anew from what is shipped."""
    families = load("families")
    rows = every_row()
    melodies = [read_melody(r["track_id"]) for r in rows]
    steps = [families.sample_steps(melody) for melody in melodies]
    heard = [r["split"] == "train" or r["planted"] == "setting" for r in rows]
    pairs = {p: v for p, v in families.find_candidates(melodies).items() if heard[p[0]] != heard[p[1]]}
    found = families.compare_pairs(steps, pairs)
    assert len(pairs) > 1000
    assert [(p, v.similarity) for p, v in found.items() if v.similarity >= families.THRESHOLD] == []


def test_decoys_match_their_tracks() -> None:
    by_id = {r["track_id"]: r for r in read_rows()}
    matched = [r for r in ordinary("decoy") if r["matched_to"]]
    assert len({r["matched_to"] for r in matched}) == len(matched)
    for row in matched:
        track = by_id[row["matched_to"]]
        assert (track["split"], track["planted"]) == ("train", "") and stratum(track) == stratum(row)
    same = sum(by_id[r["matched_to"]]["caption"] == r["caption"] for r in matched)
    assert same > 0.75 * len(matched)
    apart = [r for r in ordinary("decoy") if not r["matched_to"]]
    assert {read_tunes()[r["track_id"]]["R"] for r in apart} == {"slip jig"}


# Planted cases


def test_settings_are_the_same_tunes_under_other_names() -> None:
    families = load("families")
    by_id = {r["track_id"]: r for r in read_rows()}
    for row in read_rows("settings"):
        track = by_id[row["matched_to"]]
        assert (row["split"], row["planted"], row["work_id"]) == ("decoy", "setting", track["work_id"])
        assert track["split"] == "train" and not track["planted"]
        assert families.normalise_title(row["title"]) != families.normalise_title(track["title"])
        steps = [families.sample_steps(read_melody(r["track_id"])) for r in (row, track)]
        likeness = families.compare_pairs(steps, {(0, 1): tuple(range(7))})[0, 1]
        assert 0.6 <= likeness.similarity < 1, row["title"]
    assert all(r["collection"] != by_id[r["matched_to"]]["collection"] for r in read_rows("settings"))


def test_weighted_tunes_have_twins() -> None:
    by_id = {r["track_id"]: r for r in read_rows()}
    twins = [r for r in read_rows() if r["planted"] == "twin"]
    weighted = [by_id[r["matched_to"]] for r in twins]
    assert {r["track_id"] for r in weighted} == {r["track_id"] for r in read_rows() if r["planted"] == "weighted"}
    for one, other in zip(weighted, twins, strict=True):
        assert all(one[name] == other[name] for name in ("collection", "caption", "split"))
        assert one["work_id"] != other["work_id"]
    assert len({r["caption"] for r in twins}) == len(twins)
    assert all(r["training_weight"] == ("8" if r["planted"] == "weighted" else "1") for r in every_row())


def test_rare_rhythm_is_rare() -> None:
    rhythm = {r["track_id"]: read_tunes()[r["track_id"]].get("R") for r in every_row()}
    trained = [r for r in read_rows() if r["split"] == "train" and rhythm[r["track_id"]] == "slip jig"]
    assert [r["planted"] for r in trained] == ["rare"] * 5
    assert len({r["caption"] for r in trained + read_rows("unheard")}) == 1
    assert all(rhythm[r["track_id"]] != "slip jig" for r in read_rows("settings"))


def test_every_planted_caption_has_decoys() -> None:
    works = Counter(r["caption"] for r in ordinary("decoy"))
    captions = {r["caption"] for r in read_rows() if r["planted"]}
    assert len(captions) == 15 and min(works[caption] for caption in captions) >= 16


# The builder


def test_reading_says_what_it_leaves_out() -> None:
    notation = load("notation")
    header = "X:1\nT:Test\nM:6/8\nL:1/8\nK:G\n"
    melody = notation.read_melody(header + '"G"G>AB {c}d2e | (3fga ~g (d2e) |[Gd]3 ^f=f2|A6:|')
    assert melody.format() == "|:G3/2A/2B d2e|(3fgag d2e|d3 f=f2|A6:|"
    for body in ("abc|def|K:D", "a/3b|c|d|e|", "(3:2:2ab|c|d|e|", "ab|c|d|1e|2f|3g|"):
        with pytest.raises(notation.NotationError):
            notation.read_melody(header + body)


def test_keys() -> None:
    notation = load("notation")
    names = {
        "G": "G major",
        "E Minor": "E minor",
        "Ador": "A dorian",
        "D Mixolydian": "D mixolydian",
        "Bb": "B flat major",
    }
    assert {text: notation.read_key(text).name for text in names} == names
    signature = {"G": "F", "Ador": "F", "D": "CF", "Bb": "EB", "Dm": "B", "Bphr": "F", "Eb": "EAB"}
    for text, altered in signature.items():
        key = notation.read_key(text)
        assert "".join(letter for k, letter in enumerate("CDEFGAB") if key.alter(k)) == altered, text


def test_repeats_are_counted() -> None:
    read = load("notation").read_melody
    header = "X:1\nT:Test\nM:2/4\nL:1/8\nK:C\n"
    assert read(header + "C4|D4|E4|F4|]").order_bars() == [0, 1, 2, 3]
    assert read(header + "C4|D4|1E4:|2F4||G4|]").order_bars() == [0, 1, 2, 0, 1, 3, 4]
    assert read(header + "C4:|D4|E4|F4:|").order_bars() == [0, 0, 1, 2, 3, 1, 2, 3]


def test_alignment_agrees_with_a_plain_one() -> None:
    import random

    import numpy as np

    families = load("families")
    rng = random.Random(7)
    for _ in range(12):
        a, b = ([rng.randrange(families.REST + 1) for _ in range(rng.randint(5, 30))] for _ in range(2))
        first = np.array([a + [families.PAD] * 3], np.int8)
        second = np.array([b + [families.PAD] * 5], np.int8)
        assert families.align(first, second)[0] == pytest.approx(align_plainly(families, a, b), abs=1e-4)


def align_plainly(families: ModuleType, a: list[int], b: list[int]) -> float:
    """Smith and Waterman, cell by cell."""
    cells = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, start=1):
        for j, y in enumerate(b, start=1):
            rest = families.REST in (x, y)
            match = -families.GAP if rest else families.SCORES[min((x - y) % 7, (y - x) % 7)]
            gap = max(cells[i - 1][j], cells[i][j - 1]) - families.GAP
            cells[i][j] = max(0.0, cells[i - 1][j - 1] + match, gap)
    return max(map(max, cells))


@pytest.mark.slow
def test_rebuild_gives_the_same_files(tmp_path: Path) -> None:
    if importlib.util.find_spec("music21") is None:
        pytest.skip("music21, which carries the books, is not installed")
    command = [sys.executable, str(TUNES / "build.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=1200)
    for name in ("tunes.abc", *(f"{table}.csv" for table in TABLES)):
        assert (tmp_path / name).read_bytes() == (TUNES / name).read_bytes(), name
