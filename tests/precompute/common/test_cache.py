"""Entries of the cache: whole or absent, and damage is found by their checksums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from precompute.common.cache import Cache, Entry

ENTRY, OTHER = Entry("scores", "key", 0), Entry("scores", "key", 1)
ARRAYS = {"cells": np.sin(np.arange(24.0)).reshape(4, 6), "names": np.array(["a", "b"]), "none": np.empty((4, 0))}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path)
    cache.put(ENTRY, ARRAYS, 2.5)
    cache.put(OTHER, {"cells": ARRAYS["cells"] + 1}, 0.5)
    return cache


def test_names_have_the_fields_of_an_entry() -> None:
    assert str(Entry("latents", "3f2a")) == "latents-3f2a"
    assert str(Entry("direction", "3f2a", 7, "half-1")) == "direction-00007-half-1-3f2a"


def test_what_is_written_is_read_and_mapped(cache: Cache) -> None:
    for read in (cache.read(ENTRY), cache.map(ENTRY), cache.get(ENTRY, dict)):
        assert read.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert read[name].dtype == array.dtype and np.array_equal(read[name], array)
    with np.load(cache.locate(ENTRY), allow_pickle=False) as archive:  # numpy reads it, too
        assert set(archive.files) == set(ARRAYS)
    assert cache.read_seconds(ENTRY) == 2.5 and cache.sum_seconds("scores", "key") == 3.0


@pytest.mark.parametrize("damage", ["truncated", "empty", "a bit", "another entry"])
def test_a_damaged_entry_is_found_and_removed(cache: Cache, capsys, damage: str) -> None:
    path = cache.locate(ENTRY)
    whole = path.read_bytes()
    bit = bytearray(whole)
    bit[bit.index(ARRAYS["cells"].tobytes()) + 12] ^= 1
    damaged = {
        "truncated": whole[:-40],
        "empty": b"",
        "a bit": bytes(bit),
        "another entry": cache.locate(OTHER).read_bytes(),
    }
    assert cache.is_whole(ENTRY) and cache.is_whole(OTHER)
    path.write_bytes(damaged[damage])
    assert not cache.is_whole(ENTRY)
    cache.drop_damaged(ENTRY)
    cache.drop_damaged(OTHER)
    assert not cache.has(ENTRY) and cache.has(OTHER)
    assert capsys.readouterr().out == f"  {path}: damaged; it is computed again\n"


@pytest.mark.parametrize("length", [0, 1, 60, -1, -22])
def test_an_entry_that_was_cut_short_is_computed_again(cache: Cache, capsys, length: int) -> None:
    path = cache.locate(ENTRY)
    path.write_bytes(path.read_bytes()[:length])
    again = {"cells": ARRAYS["cells"] * 2}
    found = cache.get(ENTRY, lambda: again)
    assert np.array_equal(found["cells"], again["cells"]) and cache.is_whole(ENTRY)
    assert capsys.readouterr().out == f"  {path}: damaged; it is computed again\n"
    assert cache.get(ENTRY, dict).keys() == again.keys() and capsys.readouterr().out == ""


def test_any_flipped_byte_of_the_data_is_found(cache: Cache) -> None:
    path, data = cache.locate(OTHER), bytearray(cache.locate(OTHER).read_bytes())
    start = data.index(b"\x93NUMPY")
    for place in range(start, start + 128 + ARRAYS["cells"].nbytes, 7):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        assert not cache.is_whole(OTHER), place


def test_no_entry_is_no_whole_entry(cache: Cache) -> None:
    absent = Entry("scores", "another key", 0)
    assert not cache.is_whole(absent) and not cache.has(absent)
    cache.drop(ENTRY)
    assert not cache.has(ENTRY) and cache.read_seconds(ENTRY) == 0.0
