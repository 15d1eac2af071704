"""The only place where a stored path becomes bytes for a listener.

A path is looked up by id, resolved against the store's folder and must stay inside its root. `audition`
decides what is heard: 'full' the file, 'excerpt' its first EXCERPT_S seconds, 'none' nothing.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import soundfile
from starlette.responses import FileResponse, Response

from explorer.sound.spectrogram import picture
from explorer.store import Store
from explorer.store.errors import UnknownIdError
from explorer.store.records import SoundRecord, TrackRecord

EXCERPT_S = 15.0
MEDIA_TYPES = {".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg", ".wav": "audio/wav"}
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# "no-cache" = ask again: another store may give the same id to other music.
_HEADERS = {"Cache-Control": "private, no-cache", "Content-Disposition": "inline"}


class SoundRefusedError(Exception):
    """This sound is not served; `status` is the HTTP status, the message the reason for the listener."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Audio:
    """A file that may be served."""

    path: Path
    media_type: str
    excerpt: bool  # serve the first EXCERPT_S seconds only


def heard_s(sound: SoundRecord | TrackRecord) -> float:
    """Seconds of this sound that a listener gets, where it may be heard."""
    return min(sound.duration_s, EXCERPT_S) if sound.audition == "excerpt" else sound.duration_s


def refusal(audition: str, has_audio: bool) -> str | None:
    """Why a sound cannot be served, as far as the store knows; None where it can."""
    if not has_audio:
        return "its audio is not part of this copy"
    return "the rights holder does not allow listening" if audition == "none" else None


def missing(store: Store, sound: SoundRecord) -> str | None:
    """Why a sound cannot be served, its file looked for; None where it can."""
    try:
        locate(store, sound)
    except SoundRefusedError as error:
        return str(error)
    return None


def locate(store: Store, sound: SoundRecord) -> Audio:
    """The file of a sound. Raises AudioError: 403 not allowed, 404 absent, outside its root, or not audio."""
    reason = refusal(sound.audition, sound.audio_path is not None)
    if reason or sound.audio_path is None:
        raise SoundRefusedError(403 if sound.audition == "none" else 404, reason or "")
    root = store.info.clip_root if sound.of_clip else store.info.track_root
    path = _inside(store.path.parent, root, sound.audio_path)
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise SoundRefusedError(404, "the audio file is of a kind that is not served")
    if not path.is_file():
        raise SoundRefusedError(404, "the audio file is missing")
    return Audio(path, media_type, sound.audition == "excerpt")


def _inside(folder: Path, root: str, relative: str) -> Path:
    """folder/root/relative, links followed; raises AudioError(404) where that lies outside folder/root."""
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


def respond(store: Store, kind: str, item_id: int, range_header: str | None) -> Response:
    """The HTTP answer for kind 'track' or 'clip'. Raises AudioError."""
    audio = locate(store, _sound(store, kind, item_id))
    if not audio.excerpt:
        return FileResponse(audio.path, media_type=audio.media_type, headers=_HEADERS)
    try:
        data = _excerpt(audio.path, audio.path.stat().st_mtime_ns)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundRefusedError(404, "the audio file cannot be decoded") from error
    return ranged(data, "audio/wav", range_header)


def respond_picture(store: Store, kind: str, item_id: int) -> Response:
    """The spectrogram of what a listener gets, as PNG. Raises AudioError."""
    sound = _sound(store, kind, item_id)
    audio = locate(store, sound)
    try:
        data = picture(audio.path, heard_s(sound), audio.path.stat().st_mtime_ns)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundRefusedError(404, "the audio file cannot be decoded") from error
    return Response(data, media_type="image/png", headers=_HEADERS)


def _sound(store: Store, kind: str, item_id: int) -> SoundRecord:
    try:
        return store.tracks.read_sound(item_id) if kind == "track" else store.clips.read_sound(item_id)
    except UnknownIdError as error:
        raise SoundRefusedError(404, str(error)) from error


def embedded(store: Store, kind: str, item_id: int, from_s: float = 0.0) -> tuple[str, bytes, float, float]:
    """(media type, bytes, from, to in seconds) of at most EXCERPT_S seconds from `from_s` on, to put into a report.

    `audition` holds here as everywhere: an excerpt begins at the beginning and ends with its first EXCERPT_S seconds.
    Raises AudioError, as `respond`.
    """
    sound = _sound(store, kind, item_id)
    audio = locate(store, sound)
    last = EXCERPT_S if audio.excerpt else sound.duration_s
    from_s = max(0.0, min(from_s, last - EXCERPT_S))
    try:
        with soundfile.SoundFile(audio.path) as source:
            source.seek(min(int(from_s * source.samplerate), source.frames))
            samples = source.read(int(min(EXCERPT_S, last - from_s) * source.samplerate), always_2d=True)
            rate = source.samplerate
        if samples.shape[1] > 2:
            samples = samples.mean(1, keepdims=True)
        name = "MP3" if rate in _MP3_RATES else "FLAC"
        soundfile.write(buffer := io.BytesIO(), samples, rate, format=name)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundRefusedError(404, "the audio file cannot be decoded") from error
    return MEDIA_TYPES[f".{name.lower()}"], buffer.getvalue(), from_s, from_s + len(samples) / rate


@lru_cache(maxsize=8)  # about 2.6 MB each (15 s of 44.1 kHz stereo, 16 bit): a browser asks for one several times
def _excerpt(path: Path, mtime_ns: int) -> bytes:
    """The first EXCERPT_S seconds as 16-bit WAV. `mtime_ns` keeps a replaced file from being served stale."""
    with soundfile.SoundFile(path) as source:
        samples = source.read(int(EXCERPT_S * source.samplerate), dtype="int16", always_2d=True)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, source.samplerate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def ranged(data: bytes, media_type: str, range_header: str | None) -> Response:
    """`data` whole (200), the single asked range of it (206), or 416 where the range starts past its end.

    Several ranges, or a header that is not understood, give the whole: RFC 9110 lets a server ignore Range.
    """
    headers = {**_HEADERS, "Accept-Ranges": "bytes"}
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (range_header or "").strip())
    if match is None or match.groups() == ("", ""):
        return Response(data, media_type=media_type, headers=headers)
    first, last = match.groups()
    size = len(data)
    if first:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < int(first):  # malformed, to be ignored
            return Response(data, media_type=media_type, headers=headers)
    else:
        start, end = max(0, size - int(last)), size - 1
    if start >= size:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Response(data[start : end + 1], status_code=206, media_type=media_type, headers=headers)
