"""Files that are complete or absent (written beside, then renamed into place), and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 24  # bytes read at a time


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to: renamed to `path` where the block ends well, else removed.

    The name holds the id of this process, so that two processes may write the same file. The content has reached the
    disk before the file has its name. Raises OSError: disk full, ...
    """
    beside = part_path(path)
    try:
        yield beside
        flush_file(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def part_path(path: Path) -> Path:
    """Where `replace_atomically` of this process writes until a file is complete: ".NAME.PID.part"."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def flush_file(path: Path) -> None:
    """Return when the file's content has reached the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    """Write bytes, text (UTF-8), or what a function writes to the open file; a failure leaves what was there.

    Raises OSError: disk full, ...
    """
    with replace_atomically(path) as beside, beside.open("wb") as handle:
        if callable(content):
            content(handle)
        else:
            handle.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def open_scratch(work: Path, name: str) -> Iterator[Path]:
    """A folder of this process alone, work/NAME-PID, removed in the end; so are those of processes that are gone."""
    for left in work.glob(f"{name}-*"):
        pid = left.name.removeprefix(f"{name}-")
        if pid.isdigit() and not is_running(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    folder = work / f"{name}-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_running(pid: int) -> bool:
    """True where a process of this id is there, whoever it belongs to."""
    try:
        os.kill(pid, 0)  # sends nothing: asks whether it is there
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits; read block by block. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
