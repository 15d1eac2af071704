"""Long files -> windows of the model's length; formats that a browser does not play -> FLAC.

A model hears at most `longest_s` at once. A file up to 5 % longer is one track, heard from its beginning. A longer one
becomes several tracks, one per window, at most `most` of them: spread evenly from beginning to end, overlapping only
where that covers the file. They share a work, keep the file's caption and timing, and each is scored, ranked and heard
by itself; nothing is averaged. The seconds stand in title and source.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from precompute.corpus.audio import SoundShape, read_span, write_sound
from precompute.corpus.tracks import Track

SLACK = 1.05  # of the model's length
PLAYED = {".wav", ".flac", ".mp3", ".ogg"}  # what the explorer serves as it is


def place_windows(seconds: float, longest_s: float, most: int) -> list[tuple[float, float]]:
    """(start, end) of the windows of a file, in seconds, in order; at most `most`."""
    if seconds <= SLACK * longest_s:
        return [(0.0, min(seconds, longest_s))]
    count = min(most, math.ceil(seconds / longest_s))
    room = seconds - longest_s
    starts = [room * k / (count - 1) for k in range(count)] if count > 1 else [0.0]
    return [(start, start + longest_s) for start in starts]


def cut_into_windows(
    tracks: Sequence[Track], shapes: dict[int, SoundShape], longest_s: float, *, most: int, folder: Path, next_id: int
) -> list[Track]:
    """Tracks with their windows, in order of track_id; `folder` is where `write_windows` puts what must be written.

    The first window keeps the id of its track, the others count up from `next_id`. Tracks without a shape (latents
    alone) pass.
    """
    windowed: list[Track] = []
    for track in tracks:
        shape = shapes.get(track.track_id)
        if shape is None or track.path is None:
            windowed.append(track)
            continue
        windows = place_windows(shape.seconds, longest_s, most)
        whole = len(windows) == 1 and shape.seconds <= SLACK * longest_s
        if whole and track.path.suffix.lower() in PLAYED:
            windowed.append(track if track.duration_s else replace(track, duration_s=shape.seconds))
            continue
        for number, (start_s, end_s) in enumerate(windows):
            track_id = track.track_id if number == 0 else next_id
            next_id += number > 0
            where = "" if whole else f"{format_clock(start_s)}–{format_clock(end_s)}"
            windowed.append(
                replace(
                    track,
                    track_id=track_id,
                    title=f"{track.title} ({where})" if where else track.title,
                    source=f"{track.source}, {where} of {format_clock(shape.seconds)}" if where else track.source,
                    duration_s=end_s - start_s,
                    path=folder / f"{track_id:06d}-{_mark(track.path, start_s, end_s)}.flac",
                    original=track.path,
                    start_s=start_s,
                    whole_s=0.0 if whole else shape.seconds,
                )
            )
    return sorted(windowed, key=lambda t: t.track_id)


def write_windows(tracks: Sequence[Track]) -> int:
    """Write the audio of tracks that need it and have none yet; returns how many. Raises AudioError, OSError."""
    count = 0
    for track in tracks:
        if track.original is None or track.path is None or track.path.exists():
            continue
        wave, rate = read_span(track.original, track.start_s, track.start_s + track.duration_s)
        track.path.parent.mkdir(parents=True, exist_ok=True)
        write_sound(track.path, wave, rate)
        count += 1
    return count


def format_clock(seconds: float) -> str:
    """'1:05' or '1:01:05', to the nearest second; '0:01.5' below ten seconds."""
    whole = round(seconds)
    if seconds < 10 and abs(seconds - whole) > 0.05:
        return f"0:{seconds:04.1f}"
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _mark(path: Path, start_s: float, end_s: float) -> str:
    """A short name for a span of a file as it stands: another file in its place gives another name."""
    stat = os.stat(path)
    text = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{start_s:.6f}|{end_s:.6f}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
