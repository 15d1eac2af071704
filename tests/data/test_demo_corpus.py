"""The shipped demo corpus keeps its promises: rights, counts, split, matching, audio. Needs no music21."""

from __future__ import annotations

import csv
import functools
import importlib
import importlib.util
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from precompute.corpus.packed import read_latents

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
RATE = 32_000  # Hz
FRAME_RATE = 31.25  # latent frames a second
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
    """Tracks of the regular pairs: a training track, or the decoy that is matched to one."""
    return [r for r in rows if r["split"] == split and not r["planted"] and (split == "train" or r["matched_to"])]


def same_caption(rows: list[Row]) -> list[Row]:
    """The decoys that were made for a caption, not for a track."""
    return [r for r in rows if r["split"] == "decoy" and not r["matched_to"]]


def is_own(row: Row) -> bool:
    return row["composer"] == "Whence generator"


def test_columns_and_ids(rows: list[Row]) -> None:
    assert tuple(rows[0]) == COLUMNS
    numbers = [int(r["track_id"]) for r in rows]
    with (DEMO / "unheard.csv").open(encoding="utf-8", newline="") as file:
        apart = [int(r["track_id"]) for r in csv.DictReader(file)]
    assert numbers == sorted(numbers) and sorted(numbers + apart) == list(range(1, len(rows) + len(apart) + 1))


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
    assert len(same_caption(rows)) == 350
    pairs = regular(rows, "train") + regular(rows, "decoy")
    assert sum(map(is_own, pairs)) < len(pairs) / 2, "half of the pairs or more should be real scores"


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
    others = [r for r in rows if r["split"] == "train" and r["planted"] != "rare"]
    assert len(rare) == 1 and not rare & {r["collection"] for r in others}


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


def test_every_shown_caption_has_decoys_of_its_own(rows: list[Row]) -> None:
    with (DEMO / "prompts.csv").open(encoding="utf-8", newline="") as file:
        shown = [r["prompt"] for r in csv.DictReader(file)]
    added = same_caption(rows)
    assert {(r["audition"], r["path"], r["planted"], r["training_weight"]) for r in added} == {("none", "", "", "1")}
    works = {caption: {r["work_id"] for r in added if r["caption"] == caption} for caption in shown}
    few = {caption: len(found) for caption, found in works.items() if len(found) < 16}
    assert few == {
        "a moderate English song in C major on clarinet with guitar chords": 2,  # no more tunes in that key
        "a moderate classical movement in a minor key for string quartet": 2,  # no more works off the training side
    }
    songs = [r for r in added if r["collection"].startswith("Northumbrian")]
    assert len({r["work_id"] for r in songs}) == 16 and {r["instrument"] for r in songs} == {"clarinet, guitar"}
    quartets = [r for r in rows if r["split"] == "decoy" and r["caption"] == shown[4]]
    assert len(quartets) == len({r["source"] for r in quartets}) == 16


def test_decoys_of_exemplars_captions(rows: list[Row]) -> None:
    with (DEMO / "prompts.csv").open(encoding="utf-8", newline="") as file:
        shown = {r["prompt"] for r in csv.DictReader(file)}
    exemplars = [r for r in rows if r["track_id"] in ("50", "128", "256", "277")]
    assert len({r["collection"] for r in exemplars}) == 4
    for one in exemplars:
        assert one["path"] and one["split"] == "decoy" and is_own(one) and one["caption"] not in shown
        alike = [r for r in same_caption(rows) if r["caption"] == one["caption"]]
        assert len({r["work_id"] for r in alike}) == 16
        assert {(r["collection"], r["instrument"]) for r in alike} == {(one["collection"], one["instrument"])}


def test_decoys_of_a_caption_are_works_of_their_own(rows: list[Row]) -> None:
    added = [r for r in same_caption(rows) if "quartet" not in r["collection"]]
    for name in ("work_id", "title", "source"):
        count = Counter(r[name] for r in rows)
        assert all(count[r[name]] == 1 for r in added), name
    durations = [float(r["duration_s"]) for r in same_caption(rows)]
    assert min(durations) >= 4.2 and max(durations) <= 7.8


def test_own_decoys_of_a_caption_are_other_music_than_all_others(rows: list[Row]) -> None:
    """Written again from their seeds: no two pieces are equal, and no melody is that of another track."""
    written = [(r, write_again(r)) for r in rows if is_own(r)]
    assert len({piece for _, piece in written}) == len(written)
    pitches = {r["track_id"]: list_pitches(piece) for r, piece in written}
    count = Counter(pitches.values())
    assert [r["title"] for r in same_caption(rows) if is_own(r) and count[pitches[r["track_id"]]] > 1] == []


def list_pitches(piece: Any) -> tuple[tuple[int, int], ...]:
    """Voice and pitch of the first 60 notes, in order of time."""
    notes = sorted(piece.notes, key=lambda n: (n.start_s, n.voice, n.pitch))
    return tuple((n.voice, n.pitch) for n in notes[:60])


@functools.cache
def load_writers(further: bool) -> dict[str, Any]:
    """Writers of the styles in data/demo/; `further`: those of the decoys of a caption."""
    sys.path.insert(0, str(DEMO))  # the modules import each other by name
    try:
        generator, same = importlib.import_module("generator"), importlib.import_module("same_caption")
    finally:
        sys.path.remove(str(DEMO))
    return same.WRITERS if further else generator.STYLES | {"kalimba in seven": generator.write_kalimba_seven}


def write_again(row: Row) -> Any:
    """The piece that a row of our generator describes; of two sets of instruments, that of the row."""
    found = re.search(r"style '([^']+)', seed '([^']+)'", row["source"])
    assert found is not None, row["source"]
    write = load_writers("/same caption/" in found[2])[found[1]]
    made = [write(random.Random(found[2]), variant) for variant in (0, 1)]
    return next(one.piece for one in made if one.instrument == row["instrument"])


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


def test_decoys_without_sound_ship_as_latents(rows: list[Row]) -> None:
    apart = {r["track_id"]: r for r in rows if not r["path"]}
    path = DEMO.parents[1] / "assets/demo/decoy-latents.npz"
    latents = read_latents(path)
    assert list(latents) == list(apart) and {r["split"] for r in apart.values()} == {"decoy"}
    with np.load(path) as archive:
        silence = archive["silence"]
    for track_id, z in latents.items():
        assert z.shape == silence.shape and np.isfinite(z).all() and np.abs(z).max() < 5, track_id
        spread = np.sqrt(((z - silence) ** 2).mean(0))  # of a frame, from silence
        frames = float(apart[track_id]["duration_s"]) * FRAME_RATE
        assert np.median(spread[: int(frames)]) > 0.4, f"{track_id} is near silence"
        assert spread[int(frames) + 16 :].max(initial=0) < 0.01, f"{track_id} is longer than it should be"


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
