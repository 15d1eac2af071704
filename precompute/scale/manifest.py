"""The one manifest of a pass: its shards and tracks, and the lock that keeps a second driver away.

`manifest.json` is written by the driver alone, whole or not at all, when everything that workers need is prepared;
workers read it and compute nothing that is not in it.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from precompute.common.files import write_atomically
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.scale.shards import Shard

VERSION = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What is to be done, in full."""

    key: str  # of all that results depend on
    track_key: str  # names model and tracks by content
    taps: dict[str, tuple[str, str]]  # column prefix -> (stage, key) in the run's cache
    shards: list[Shard]
    tracks: list[Track]
    corpus_root: str

    def write(self, folder: Path) -> None:
        data = {"version": VERSION, **asdict(self)}
        write_atomically(folder / NAME, json.dumps(data, indent=1, default=str))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises UserError where there is none, or one of another version."""
        try:
            data = json.loads((folder / NAME).read_text())
            if data.pop("version") != VERSION:
                raise UserError(f"{folder / NAME}: of another version; remove the folder and start the pass again")
            shards = [Shard(s["name"], s["start"], s["stop"], tuple(s["track_ids"])) for s in data.pop("shards")]
            tracks = [_track(t) for t in data.pop("tracks")]
            taps = {name: tuple(value) for name, value in data.pop("taps").items()}
            return cls(shards=shards, tracks=tracks, taps=taps, **data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / NAME}: cannot be read ({error}); start the pass again") from error


def _track(read: dict[str, Any]) -> Track:
    for name in ("path", "original"):
        read[name] = Path(read[name]) if read[name] else None
    return Track(**{**read, "holders": tuple((name, role) for name, role in read["holders"])})


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Held while a driver works. Raises UserError where another one does; a killed one's lock is free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: another pass is at work here; wait for it, or end it first") from error
        yield
