"""What a stage computed, kept by the content of its inputs: a killed run goes on where it was.

An entry is one .npz file, written beside and renamed. Its name holds a fingerprint of everything it depends on, so
other settings never meet old results.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Arrays = dict[str, np.ndarray]
Item = TypeVar("Item")
share = 1  # processes that work beside this one, itself included: their seconds run at the same time


class Cache:
    """A folder of entries."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def get(self, stage: str, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a stage: read where they are kept, else computed and kept."""
        self.ensure(stage, key, compute)
        with np.load(self.path(stage, key), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def ensure(self, stage: str, key: str, compute: Callable[[], Arrays]) -> None:
        """Compute and keep a stage that is not kept yet."""
        if not self.has(stage, key):
            began = time.monotonic()
            self.put(stage, key, compute(), time.monotonic() - began)

    def mapped(self, stage: str, key: str) -> Arrays:
        """The arrays of a kept stage as they lie on disk: read when looked at, and shared by all processes."""
        path, found = self.path(stage, key), {}
        with zipfile.ZipFile(path) as archive, path.open("rb") as handle:
            for member in archive.infolist():  # stored without compression, so an array is one run of the file
                handle.seek(member.header_offset)
                lengths = handle.read(30)[26:30]  # of the name and of the extra field
                handle.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
                version = np.lib.format.read_magic(handle)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(handle)
                order: Any = "F" if fortran else "C"
                name = member.filename.removesuffix(".npy")
                if 0 in shape:
                    found[name] = np.empty(shape, dtype)
                else:
                    found[name] = np.memmap(path, dtype, "c", handle.tell(), shape, order)
        return found

    def put(self, stage: str, key: str, arrays: Arrays, seconds: float) -> None:
        """Keep the arrays of a stage, and beside them how long they took."""
        self._write(self.path(stage, key), arrays)
        self.note(stage, key, seconds)

    def note(self, stage: str, key: str, seconds: float) -> None:
        """How long something took, told by `seconds`."""
        note = self.folder / ".seconds" / f"{stage}-{key}"
        note.parent.mkdir(exist_ok=True)
        note.write_text(f"{seconds / share:.4f}")

    def seconds(self, stage: str, key: str) -> float:
        """How long a kept stage took, of the device's time; 0 where that is not known."""
        try:
            return float((self.folder / ".seconds" / f"{stage}-{key}").read_text())
        except (OSError, ValueError):
            return 0.0

    def seconds_matching(self, pattern: str) -> float:
        """The same, over all stages whose name and key fit a pattern of file names."""
        return sum(float(note.read_text() or 0) for note in (self.folder / ".seconds").glob(pattern))

    def drop(self, stage: str, key: str) -> None:
        """Forget a stage."""
        self.path(stage, key).unlink(missing_ok=True)
        (self.folder / ".seconds" / f"{stage}-{key}").unlink(missing_ok=True)

    def has(self, stage: str, key: str) -> bool:
        return self.path(stage, key).exists()

    def path(self, stage: str, key: str) -> Path:
        return self.folder / f"{stage}-{key}.npz"

    @staticmethod
    def _write(path: Path, arrays: Arrays) -> None:
        beside = path.with_suffix(".part")
        try:
            with beside.open("wb") as handle:
                np.savez(handle, **arrays)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def progress(what: str, items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items; print how many are done and how long the rest will take, at most every five seconds."""
    began = shown = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - shown > 5:
            left = (now - began) / done * (len(items) - done)
            print(f"  {what}: {done} of {len(items)}, {duration(left)} left", flush=True)
            shown = now
        yield item
    print(f"  {what}: {len(items)} of {len(items)}, {duration(time.monotonic() - began)}", flush=True)


def duration(seconds: float) -> str:
    """'40 s' or '3 min 20 s'."""
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60:02d} s"
