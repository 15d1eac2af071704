"""Results of stages on disk, named by the content of their inputs: a killed run goes on where it was.

An entry is one .npz file, written beside and renamed, so that a file is whole or absent. One that was cut short later,
by a fault of the disk, counts as absent; its checksums tell of other damage. Its name holds a fingerprint of everything
that it depends on: other settings never meet old results.
Beside each entry the seconds that it took are noted. Times are in seconds.
"""

from __future__ import annotations

import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from precompute.common.files import write_atomically

Arrays = dict[str, np.ndarray]
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, struct.error, zipfile.BadZipFile)  # what zipfile raises of it


@dataclass(frozen=True)
class Entry:
    """The name of one result of a stage."""

    stage: str  # "latents", "direction"
    key: str  # fingerprint of everything that the result depends on
    number: int | None = None  # of the clip, shard or cell, where a stage has one result for each
    part: str = ""  # where a result, or what is noted of it, has parts

    def __str__(self) -> str:
        number = "" if self.number is None else f"{self.number:05d}"
        return "-".join(word for word in (self.stage, number, self.part, self.key) if word)


class Cache:
    """A folder of entries."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.processes = 1  # that work side by side, this one included: their seconds pass at the same time

    def get(self, entry: Entry, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of an entry: read if it is there, else computed and written."""
        self.ensure(entry, compute)
        return self.read(entry)

    def read(self, entry: Entry) -> Arrays:
        """The arrays of an entry that is there. Raises OSError or zipfile.BadZipFile where it is not, or not whole."""
        with np.load(self.locate(entry), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def ensure(self, entry: Entry, compute: Callable[[], Arrays]) -> None:
        """Compute and write an entry that is not there yet."""
        if not self.has(entry):
            began = time.monotonic()
            self.put(entry, compute(), time.monotonic() - began)

    def map(self, entry: Entry) -> Arrays:
        """The arrays of an entry as they lie on disk: read when looked at, and shared by all processes."""
        path, arrays = self.locate(entry), {}
        with zipfile.ZipFile(path) as archive, path.open("rb") as handle:
            for member in archive.infolist():  # stored without compression, so an array is one run of the file
                handle.seek(member.header_offset)
                lengths = handle.read(30)[26:30]  # of the name and of the extra field
                handle.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
                version = np.lib.format.read_magic(handle)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(handle)
                order: Literal["F", "C"] = "F" if fortran else "C"
                name = member.filename.removesuffix(".npy")
                if 0 in shape:
                    arrays[name] = np.empty(shape, dtype)
                else:
                    arrays[name] = np.memmap(path, dtype, "c", handle.tell(), shape, order)
        return arrays

    def put(self, entry: Entry, arrays: Arrays, seconds: float) -> None:
        """Write an entry, and beside it how long it took. Raises OSError naming the file where the disk is full."""
        path = self.locate(entry)
        with _name_file_of_errors(path):
            write_atomically(path, lambda handle: _write_archive(handle, entry, arrays))
        self.note_seconds(entry, seconds)

    def note_seconds(self, entry: Entry, seconds: float) -> None:
        """Note how long something took; divided among the processes that work side by side."""
        note = self._locate_note(entry)
        with _name_file_of_errors(note):
            note.parent.mkdir(exist_ok=True)
            note.write_text(f"{seconds / self.processes:.4f}")

    def read_seconds(self, entry: Entry) -> float:
        """The noted seconds of an entry; 0 where there are none."""
        try:
            return float(self._locate_note(entry).read_text())
        except (OSError, ValueError):
            return 0.0

    def sum_seconds(self, stage: str, key: str) -> float:
        """The noted seconds of all numbered entries and parts of a stage, summed."""
        notes = self._locate_note(Entry(stage, key)).parent.glob(f"{stage}-*-{key}")
        return sum(float(note.read_text() or 0) for note in notes)

    def is_whole(self, entry: Entry) -> bool:
        """True where the entry's file is there, holds this entry, and its checksums are right."""
        try:
            with zipfile.ZipFile(self.locate(entry)) as archive:
                return archive.comment == str(entry).encode() and archive.testzip() is None
        except _DAMAGE:
            return False

    def drop_damaged(self, entry: Entry) -> None:
        """Remove an entry that is there but damaged, and print which."""
        if self.has(entry) and not self.is_whole(entry):
            self._drop_with_notice(entry)

    def drop(self, entry: Entry) -> None:
        """Remove an entry and its note."""
        self.locate(entry).unlink(missing_ok=True)
        self._locate_note(entry).unlink(missing_ok=True)

    def has(self, entry: Entry) -> bool:
        """True where the entry was written. One that was cut short is removed, and printed; checksums are not read."""
        if not self.locate(entry).exists():
            return False
        try:
            with zipfile.ZipFile(self.locate(entry)) as archive:  # reads the end of the file alone
                if archive.comment == str(entry).encode():
                    return True
        except _DAMAGE:
            pass
        self._drop_with_notice(entry)
        return False

    def _drop_with_notice(self, entry: Entry) -> None:
        print(f"  {self.locate(entry)}: damaged; it is computed again", flush=True)
        self.drop(entry)

    def locate(self, entry: Entry) -> Path:
        """The entry's file."""
        return self.folder / f"{entry}.npz"

    def _locate_note(self, entry: Entry) -> Path:
        return self.folder / ".seconds" / str(entry)


@contextmanager
def _name_file_of_errors(path: Path) -> Iterator[None]:
    """An OSError of writing, such as a full disk, names the file."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _write_archive(handle: BinaryIO, entry: Entry, arrays: Arrays) -> None:
    """A .npz file, uncompressed, whose comment is the entry's name."""
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = str(entry).encode()
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
