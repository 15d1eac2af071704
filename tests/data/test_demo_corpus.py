"""The shipped demo corpus keeps its promises: rights, counts, split, matching, audio. Needs no music21."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
RATE = 32_000  # Hz
COLUMNS = (
    *("track_id", "work_id", "title", "composer", "collection", "rights_holder", "licence_composition"),
    *(
        "licence_encoding",
        "licence_rendering",
        "licence_evidence",
        "source",
        "instrument",
        "caption",
        "split",
    ),
    *("duration_s", "audition", "path", "planted", "matched_to", "training_weight"),
)
ALIKE = (*("collection", "instrument", "caption", "composer", "rights_holder"), *COLUMNS[6:10])  # licences
Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with (DEMO / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sources() -> Iterator[ModuleType]:
    """data/demo/sources.py, loaded by path because data/ is no package."""
    name = "demo_sources"
    spec = importlib.util.spec_from_file_location(name, DEMO / "sources.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def regular(rows: list[Row], split: str) -> list[Row]:
    return [r for r in rows if r["split"] == split and not r["planted"]]


def test_columns_and_ids(rows: list[Row]) -> None:
    assert tuple(rows[0]) == COLUMNS
    assert [int(r["track_id"]) for r in rows] == list(range(1, len(rows) + 1))


def test_every_row_says_why_it_is_free(rows: list[Row]) -> None:
    for r in rows:
        for column in r:
            if column.startswith("licence_") or column in ("rights_holder", "source", "title", "composer"):
                assert r[column].strip(), f"track {r['track_id']}: {column} is empty"


def test_evidence_holds_no_addresses(rows: list[Row]) -> None:
    for r in rows:
        assert not re.search(r"\S@\S|www\.|https?:", r["licence_evidence"]), r["licence_evidence"]


def test_quoted_rights_lines_pass_the_filter(rows: list[Row], sources: ModuleType) -> None:
    for r in rows:
        lines = r["licence_evidence"].replace(sources.CORPUS_LICENCE, "")
        assert sources.judge(lines).allowed, lines


def test_counts(rows: list[Row]) -> None:
    assert len(regular(rows, "train")) == 320
    assert len(regular(rows, "decoy")) == 320
    assert {r["split"] for r in rows} == {"train", "decoy"}
    assert len({r["collection"] for r in rows}) >= 10
    own = sum(r["composer"] == "Whence generator" for r in rows)
    assert own < len(rows) / 2, "half of the corpus or more should be real scores"


def test_no_work_is_on_both_sides(rows: list[Row]) -> None:
    works = {split: {r["work_id"] for r in rows if r["split"] == split} for split in ("train", "decoy")}
    assert not works["train"] & works["decoy"]


def test_no_title_is_on_both_sides(rows: list[Row]) -> None:
    tunes = [r for r in rows if "quartet" not in r["collection"]]
    titles = {s: {r["title"].lower() for r in tunes if r["split"] == s} for s in ("train", "decoy")}
    assert not titles["train"] & titles["decoy"]


def test_decoys_match_their_tracks(rows: list[Row]) -> None:
    by_id = {r["track_id"]: r for r in rows}
    decoys = regular(rows, "decoy")
    assert {r["matched_to"] for r in decoys} == {r["track_id"] for r in regular(rows, "train")}
    for decoy in decoys:
        track = by_id[decoy["matched_to"]]
        assert (decoy["collection"], decoy["instrument"]) == (track["collection"], track["instrument"])
        assert abs(float(decoy["duration_s"]) - float(track["duration_s"])) <= 0.25
    assert all(not r["matched_to"] for r in rows if r["split"] == "train" and r["planted"] != "twin")


def test_planted_cases(rows: list[Row]) -> None:
    planted = [r for r in rows if r["planted"]]
    counts = {"rendering": 36, "rare": 5, "degenerate": 4, "weighted": 12, "twin": 12}
    assert Counter(r["planted"] for r in planted) == counts
    assert {r["split"] for r in planted} == {"train"}
    renderings = Counter(r["work_id"] for r in planted if r["planted"] == "rendering")
    assert len(renderings) == 14 and set(renderings.values()) == {2, 3}
    assert not set(renderings) & {r["work_id"] for r in rows if r["planted"] != "rendering"}
    rare = {r["collection"] for r in planted if r["planted"] == "rare"}
    assert len(rare) == 1 and not rare & {r["collection"] for r in rows if r["planted"] != "rare"}


def test_unheard_tracks_are_of_the_rare_style_and_outside_the_corpus(rows: list[Row]) -> None:
    with (DEMO / "unheard.csv").open(encoding="utf-8", newline="") as file:
        apart = list(csv.DictReader(file))
    [alike] = {tuple(r[name] for name in ALIKE) for r in rows if r["planted"] == "rare"}
    assert {tuple(r[name] for name in ALIKE) for r in apart} == {alike} and len(apart) == 8
    assert {(r["split"], r["planted"]) for r in apart} == {("decoy", "rare")}
    for name in ("track_id", "work_id", "title", "source"):
        assert not {r[name] for r in apart} & {r[name] for r in rows}, name
    assert {p.name for p in (DEMO / "unheard").iterdir()} == {Path(r["path"]).name for r in apart}
    levels = {True: [], False: []}
    for r in apart + [r for r in rows if r["planted"] == "rare"]:
        audio, rate = soundfile.read(DEMO / r["path"], dtype="float32")
        assert (rate, audio.ndim) == (RATE, 1) and abs(len(audio) / rate - float(r["duration_s"])) <= 0.03
        levels[r in apart].append(20 * np.log10(np.sqrt(np.mean(audio**2))))
    assert abs(np.mean(levels[True]) - np.mean(levels[False])) < 0.5  # dB: nothing but the notes tells them apart


def test_weighted_tracks_have_twins(rows: list[Row]) -> None:
    by_id = {r["track_id"]: r for r in rows}
    twins = [r for r in rows if r["planted"] == "twin"]
    weighted = [by_id[r["matched_to"]] for r in twins]
    assert {r["track_id"] for r in weighted} == {r["track_id"] for r in rows if r["planted"] == "weighted"}
    assert len({r["collection"] for r in twins}) == len(twins)
    for one, other in zip(weighted, twins, strict=True):
        assert all(one[name] == other[name] for name in ("collection", "instrument", "caption"))
        assert one["work_id"] != other["work_id"]
        assert abs(float(one["duration_s"]) - float(other["duration_s"])) <= 0.25
    # chance decided which of the two comes first, so neither number nor piece gives the weighted one away
    assert (
        3 <= sum(int(one["track_id"]) < int(other["track_id"]) for one, other in zip(weighted, twins, strict=True)) <= 9
    )
    assert all(r["training_weight"] == ("8" if r["planted"] == "weighted" else "1") for r in rows)


def test_captions_are_plain_and_few_worded(rows: list[Row]) -> None:
    words: set[str] = set()
    for r in rows:
        assert re.fullmatch(r"an? [A-Za-z ,]+", r["caption"]), r["caption"]
        assert re.search(r"\b(slow|moderate|fast)\b", r["caption"]), r["caption"]
        words |= set(re.findall(r"[a-z]+", r["caption"].lower()))
    assert 100 <= len(words) <= 300


def test_shipped_sound_is_listed(rows: list[Row]) -> None:
    shipped = [r for r in rows if r["path"]]
    assert {r["path"] for r in shipped} == {f"audio/{int(r['track_id']):04d}.mp3" for r in shipped}
    assert {p.name for p in (DEMO / "audio").iterdir()} == {Path(r["path"]).name for r in shipped}
    assert all(r["path"] for r in rows if r["split"] == "train")
    decoys = [r for r in shipped if r["split"] == "decoy"]
    assert len(decoys) == 64 and len({r["collection"] for r in decoys}) >= 10
    assert all((r["audition"] == "full") == bool(r["path"]) for r in rows)
    assert sum((DEMO / r["path"]).stat().st_size for r in shipped) <= 18e6


def test_audio_is_as_listed(rows: list[Row]) -> None:
    for r in rows:
        if not r["path"]:
            continue
        audio, rate = soundfile.read(DEMO / r["path"], dtype="float32")
        duration, peak = float(r["duration_s"]), float(np.abs(audio).max())
        assert rate == RATE and audio.ndim == 1, r["path"]
        assert abs(len(audio) / rate - duration) <= 0.03, r["path"]
        assert peak <= 10 ** (-1 / 20), r["path"]
        assert np.isfinite(audio).all() and peak > 0, r["path"]
        if r["planted"] != "degenerate":
            assert 4.0 <= duration <= 8.0, r["path"]
            assert np.sqrt(np.mean(audio**2)) > 0.02, r["path"]  # -34 dBFS: far above silence
            assert np.abs(audio[: round(0.15 * rate)]).max() > 0.003, f"{r['path']} starts with silence"


def test_degenerate_tracks_are_degenerate(rows: list[Row]) -> None:
    quiet = short = 0
    for r in rows:
        if r["planted"] == "degenerate":
            audio, rate = soundfile.read(DEMO / r["path"])
            quiet += np.abs(audio).max() < 10 ** (-55 / 20)
            short += 0.4 <= len(audio) / rate <= 0.8
    assert (quiet, short) == (2, 2)


@pytest.mark.parametrize(
    "line",
    [
        "All Rights Reserved",
        "GPL",
        "released under the GNU General Public License",
        "for non-commercial use only",
        "CC BY-SA 4.0",
        "Creative Commons Attribution-ShareAlike",
        "CC BY-NC",
        "CC BY-ND 3.0",
        "© 2004 X",
        "Copyright 1999 A. Typist",
        "(c) 2001 A. Typist",
        "used by permission",
        "Public Domain in the US. All rights reserved elsewhere",
        "see licence",
    ],
)
def test_rights_filter_refuses(sources: ModuleType, line: str) -> None:
    assert not sources.judge(["Transcribed by A. Typist", line]).allowed


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Public Domain",
        "CC0",
        "Transcribed by A. Typist",
        "Copyright © 1998 by A. Typist and assigned to the public domain.",
        "© 2014, Creative Commons License (CC-BY)",
    ],
)
def test_rights_filter_accepts(sources: ModuleType, line: str) -> None:
    assert sources.judge(line).allowed


def test_refused_collections_are_not_allowed(sources: ModuleType) -> None:
    assert not set(sources.ALLOWED) & set(sources.REFUSED)
    assert {"bach", "monteverdi", "palestrina", "josquin", "essenFolksong", "trecento"} <= set(sources.REFUSED)


def test_addresses_are_left_out(sources: ModuleType) -> None:
    quoted = sources.quote_without_addresses(["Z:Transcribed by A. Typist, a.typist@example.com"])
    assert "example" not in quoted and "A. Typist" in quoted
