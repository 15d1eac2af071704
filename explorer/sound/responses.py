"""HTTP answers that carry a sound or its spectrogram, by id; permission.py says what may be served."""

from __future__ import annotations

import io
import re
from functools import lru_cache
from pathlib import Path

import soundfile
from starlette.responses import FileResponse, Response

from explorer.sound import permission
from explorer.sound.permission import SoundRefusedError, find_sound, locate_audio, measure_heard
from explorer.sound.spectrogram import draw_spectrogram
from explorer.store import Store

# "no-cache" = ask again: another store may give the same id to other music.
_HEADERS = {"Cache-Control": "private, no-cache", "Content-Disposition": "inline"}


def respond_audio(store: Store, kind: str, item_id: int, range_header: str | None) -> Response:
    """Serve what a listener gets of kind 'track' or 'clip'. Raises SoundRefusedError."""
    audio = locate_audio(store, find_sound(store, kind, item_id))
    if not audio.excerpt:
        return FileResponse(audio.path, media_type=audio.media_type, headers=_HEADERS)
    try:
        data = _cut_excerpt(audio.path, audio.path.stat().st_mtime_ns)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundRefusedError(404, "the audio file cannot be decoded") from error
    return respond_range(data, "audio/wav", range_header)


def respond_spectrogram(store: Store, kind: str, item_id: int) -> Response:
    """Serve the spectrogram of what a listener gets, as PNG. Raises SoundRefusedError."""
    sound = find_sound(store, kind, item_id)
    audio = locate_audio(store, sound)
    try:
        data = draw_spectrogram(audio.path, measure_heard(sound), audio.path.stat().st_mtime_ns)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundRefusedError(404, "the audio file cannot be decoded") from error
    return Response(data, media_type="image/png", headers=_HEADERS)


@lru_cache(maxsize=8)  # about 2.6 MB each (15 s of 44.1 kHz stereo, 16 bit): a browser asks for one several times
def _cut_excerpt(path: Path, mtime_ns: int) -> bytes:
    """The first EXCERPT_S seconds as 16-bit WAV. `mtime_ns` keeps a replaced file from being served stale."""
    with soundfile.SoundFile(path) as source:
        samples = source.read(int(permission.EXCERPT_S * source.samplerate), dtype="int16", always_2d=True)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, source.samplerate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def respond_range(data: bytes, media_type: str, range_header: str | None) -> Response:
    """Serve `data` whole (200), the single asked range of it (206), or 416 where the range starts past its end.

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
