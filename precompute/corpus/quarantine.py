"""Files that are set aside before a run because they cannot be used, each with its reason.

Every file is decoded once. The reasons themselves are written where a file is read: `audio.scan` and `AudioError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from precompute.corpus.audio import AudioError, SoundShape, scan
from precompute.corpus.tracks import Track


@dataclass(frozen=True)
class Examination:
    """The tracks that can be used, and the reasons of the others."""

    readable: list[Track]  # tracks without audio (latents only) among them
    quarantined: dict[int, str]  # track_id -> why its file is set aside
    shapes: dict[int, SoundShape]  # track_id -> what its file holds, of the readable ones with audio


def examine_files(tracks: Iterable[Track]) -> Examination:
    """Decode every file and set aside those that are missing, unreadable, empty or not finite."""
    readable: list[Track] = []
    quarantined: dict[int, str] = {}
    shapes: dict[int, SoundShape] = {}
    for track in tracks:
        if track.path is not None:
            try:
                shapes[track.track_id] = scan(track.path)
            except AudioError as error:
                quarantined[track.track_id] = str(error)
                continue
        readable.append(track)
    return Examination(readable, quarantined, shapes)
