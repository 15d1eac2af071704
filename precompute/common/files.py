"""Files that are complete or absent (written beside, then renamed into place), and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 24  # bytes read at a time


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to: renamed to `path` where the block ends well, else removed.

    The name holds the id of this process, so that two processes may write the same file.
    """
    beside = part_path(path)
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def part_path(path: Path) -> Path:
    """Where `replace_atomically` of this process writes until a file is complete: ".NAME.PID.part"."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_atomically(path: Path, content: bytes | str | Callable[[BinaryIO], object], sync: bool = False) -> None:
    """Write bytes, text (UTF-8), or what a function writes to the open file; a failure leaves what was there.

    `sync`: the content has reached the disk before the file has its name. Raises OSError: disk full, ...
    """
    with replace_atomically(path) as beside, beside.open("wb") as handle:
        if callable(content):
            content(handle)
        else:
            handle.write(content.encode() if isinstance(content, str) else content)
        if sync:
            handle.flush()
            os.fsync(handle.fileno())


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits; read block by block. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
