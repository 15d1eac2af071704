"""Files are complete or absent; hashes are SHA-256."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from precompute.common.files import hash_file, part_path, replace_atomically, write_atomically


def test_bytes_text_and_functions_are_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"one", "θ", lambda handle: handle.write(b"three")):
        write_atomically(path, content)
    assert path.read_bytes() == b"three" and os.listdir(tmp_path) == ["file"]
    write_atomically(path, "θ")
    assert path.read_text(encoding="utf-8") == "θ"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="stop"), replace_atomically(path) as beside:
        beside.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        raise ValueError("stop")
    part_path(path).symlink_to("/dev/full")  # answers every write as a full disk does
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_hash_is_sha_256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a").startswith("ba7816bf")
