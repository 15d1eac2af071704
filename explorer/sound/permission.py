"""The rule of what may be played: the only place where a stored path becomes a file to serve.

A path is resolved against the store's folder and must stay inside its root. `audition` decides what is heard: 'full'
the file, 'excerpt' its first EXCERPT_S seconds, 'none' nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from explorer.store import Store
from explorer.store.errors import UnknownIdError
from explorer.store.records import SoundRecord, TrackRecord

EXCERPT_S = 15.0
MEDIA_TYPES = {".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg", ".wav": "audio/wav"}


class SoundRefusedError(Exception):
    """This sound is not served; `status` is the HTTP status, the message the reason for the listener."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class AudioFile:
    """A file that may be served."""

    path: Path
    media_type: str
    excerpt: bool  # serve the first EXCERPT_S seconds only


def measure_heard(sound: SoundRecord | TrackRecord) -> float:
    """Seconds of this sound that a listener gets, where it may be heard."""
    return min(sound.duration_s, EXCERPT_S) if sound.audition == "excerpt" else sound.duration_s


def explain_refusal(audition: str, has_audio: bool) -> str | None:
    """Say why a sound cannot be served, as far as the store knows; None where it can."""
    if not has_audio:
        return "its audio is not part of this copy"
    return "the rights holder does not allow listening" if audition == "none" else None


def explain_unplayable(store: Store, sound: SoundRecord) -> str | None:
    """Say why a sound cannot be served, its file looked for; None where it can."""
    try:
        locate_audio(store, sound)
    except SoundRefusedError as error:
        return str(error)
    return None


def locate_audio(store: Store, sound: SoundRecord) -> AudioFile:
    """Find the file of a sound. Raises SoundRefusedError: 403 not allowed; 404 absent, outside its root, not audio."""
    reason = explain_refusal(sound.audition, sound.audio_path is not None)
    if reason or sound.audio_path is None:
        raise SoundRefusedError(403 if sound.audition == "none" else 404, reason or "")
    root = store.info.clip_root if sound.of_clip else store.info.track_root
    path = _resolve_inside(store.path.parent, root, sound.audio_path)
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise SoundRefusedError(404, "the audio file is of a kind that is not served")
    if not path.is_file():
        raise SoundRefusedError(404, "the audio file is missing")
    return AudioFile(path, media_type, sound.audition == "excerpt")


def _resolve_inside(folder: Path, root: str, relative: str) -> Path:
    """Follow folder/root/relative, links too; raises SoundRefusedError(404) where that lies outside folder/root."""
    outside = SoundRefusedError(404, "the audio file lies outside its folder")
    if Path(root).is_absolute():  # the contract says relative: an absolute root could name any folder
        raise outside
    try:
        base = (folder / root).resolve()
        path = (base / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte, a loop of links
        raise outside from error
    if not path.is_relative_to(base):
        raise outside
    return path


def find_sound(store: Store, kind: str, item_id: int) -> SoundRecord:
    """The sound of kind 'track' or 'clip'. Raises SoundRefusedError(404) for an unknown id."""
    try:
        return store.tracks.read_sound(item_id) if kind == "track" else store.clips.read_sound(item_id)
    except UnknownIdError as error:
        raise SoundRefusedError(404, str(error)) from error
