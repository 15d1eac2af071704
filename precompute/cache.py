"""What a stage computed, kept by the content of its inputs: a killed run goes on where it was.

An entry is one .npz file, written beside and renamed. Its name holds a fingerprint of everything it depends on, so
other settings never meet old results.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

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
        path = self.path(stage, key)
        if not path.exists():
            began = time.monotonic()
            self.put(stage, key, compute(), time.monotonic() - began)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

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
