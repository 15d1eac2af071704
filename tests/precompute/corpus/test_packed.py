"""Latents in 8 bits: how exact they are, and what a file that is none says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from precompute.corpus.packed import pack_latents, read_latents, write_latents
from precompute.errors import UserError

CHANNELS, FRAMES, HEARD = 64, 50, 40
SHAPE = (CHANNELS, FRAMES)


@pytest.fixture
def silence() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.4, SHAPE).astype(np.float32)


@pytest.fixture
def latents(silence: np.ndarray) -> dict[int, np.ndarray]:
    """Two tracks of unit variance whose last frames fade into silence."""
    fade = np.where(np.arange(FRAMES) < HEARD, 1.0, 0.1 * 0.3 ** (np.arange(FRAMES) - HEARD))
    rng = np.random.default_rng(1)
    return {i: (silence + fade * rng.normal(size=SHAPE)).astype(np.float32) for i in (7, 3)}


def test_what_is_read_is_what_was_written(tmp_path: Path, latents: dict[int, np.ndarray], silence: np.ndarray) -> None:
    write_latents(tmp_path / "x.npz", latents, silence)
    read = read_latents(tmp_path / "x.npz")
    assert list(read) == ["7", "3"] and all(z.dtype == np.float32 for z in read.values())
    for i, z in latents.items():
        error = read[str(i)] - z
        heard = np.sqrt((error[:, :HEARD] ** 2).mean() / (z[:, :HEARD] ** 2).mean())
        assert heard < 0.035
        assert np.sqrt((error[:, HEARD:] ** 2).mean(0)).max() < 0.005  # silence is nearly exact
        assert np.abs(error[:, -2:]).max() < 2**-11


def test_equal_latents_give_equal_bytes(tmp_path: Path, latents: dict[int, np.ndarray], silence: np.ndarray) -> None:
    for name in ("a.npz", "b.npz"):
        write_latents(tmp_path / name, latents, silence)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_no_value_leaves_eight_bits(silence: np.ndarray) -> None:
    silence = np.tile(silence, (4, 1))
    lone = silence.copy()
    lone[5, 7] += 1e4  # one of 256 channels far above the frame's mean
    codes = pack_latents({1: lone}, silence)["codes"]
    assert codes[0, 5, 7] > 100 and codes.min() >= 0


def test_plain_arrays_are_read_as_they_are(tmp_path: Path) -> None:
    plain = np.ones(SHAPE, np.float16)
    np.savez(tmp_path / "x.npz", **{"12": plain})
    read = read_latents(tmp_path / "x.npz")
    assert list(read) == ["12"] and read["12"].dtype == np.float16 and (read["12"] == plain).all()


def test_a_damaged_file_is_one_clear_error(tmp_path: Path, latents: dict[int, np.ndarray], silence: np.ndarray) -> None:
    path = tmp_path / "x.npz"
    write_latents(path, latents, silence)
    whole, middle = path.read_bytes(), path.stat().st_size // 2
    flipped = whole[:middle] + bytes(255 - b for b in whole[middle : middle + 50]) + whole[middle + 50 :]
    for content in (whole[:middle], flipped, b"", b"no archive", np.lib.format.MAGIC_PREFIX):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.npz: is no \.npz of latents, or is damaged"):
            read_latents(path)


@pytest.mark.parametrize("name", ["track_ids", "exponents", "silence"])
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, latents: dict[int, np.ndarray], silence: np.ndarray, name: str
) -> None:
    arrays = pack_latents(latents, silence)
    for wrong in ({name: arrays[name][:1]}, {name: arrays[name].astype(np.float64)}):
        np.savez(tmp_path / "x.npz", **{**arrays, **wrong})
        with pytest.raises(UserError, match=r"x\.npz"):
            read_latents(tmp_path / "x.npz")
    del arrays[name]
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=f"{name} is missing"):
        read_latents(tmp_path / "x.npz")
