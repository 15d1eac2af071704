"""Examines the files of a corpus before a run, and collects those that are set aside because they cannot be used.

Every file is decoded once. The reasons are worded where a file is read, in `corpus/audio.py`: messages of `AudioError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from precompute.corpus.audio import AudioError, SoundShape, scan
from precompute.corpus.tracks import Track


@dataclass(frozen=True)
class Examination:
    """Tracks that can be used, and the reasons against the others."""

    readable: list[Track]  # tracks without audio (latents only) among them
    set_aside: dict[int, str]  # track_id -> why its file is set aside
    shapes: dict[int, SoundShape]  # track_id -> what its file holds, of the readable ones with audio


def examine_files(tracks: Iterable[Track]) -> Examination:
    """Decode every file and set aside those that are missing, unreadable, empty or not finite."""
    readable: list[Track] = []
    set_aside: dict[int, str] = {}
    shapes: dict[int, SoundShape] = {}
    for track in tracks:
        if track.path is not None:
            try:
                shapes[track.track_id] = scan(track.path)
            except AudioError as error:
                set_aside[track.track_id] = str(error)
                continue
        readable.append(track)
    return Examination(readable, set_aside, shapes)
