"""Sounds to put into a report as bytes; permission.py says what may be served."""

from __future__ import annotations

import io
from typing import NamedTuple

import soundfile

from explorer.sound import permission
from explorer.sound.permission import MEDIA_TYPES, SoundRefusedError, find_sound, locate_audio
from explorer.store import Store

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class EmbeddedSound(NamedTuple):
    """An encoded part of a sound."""

    media_type: str
    data: bytes
    from_s: float  # where the part begins in the sound, seconds
    to_s: float


def embed_sound(store: Store, kind: str, item_id: int, from_s: float = 0.0) -> EmbeddedSound:
    """Encode at most EXCERPT_S seconds from `from_s` on, as MP3 where its rate allows, else FLAC.

    `audition` holds here as everywhere: an excerpt begins at the beginning and ends with its first EXCERPT_S seconds.
    Raises SoundRefusedError.
    """
    sound = find_sound(store, kind, item_id)
    audio = locate_audio(store, sound)
    last = permission.EXCERPT_S if audio.excerpt else sound.duration_s
    from_s = max(0.0, min(from_s, last - permission.EXCERPT_S))
    try:
        with soundfile.SoundFile(audio.path) as source:
            source.seek(min(int(from_s * source.samplerate), source.frames))
            samples = source.read(int(min(permission.EXCERPT_S, last - from_s) * source.samplerate), always_2d=True)
            rate = source.samplerate
        if samples.shape[1] > 2:
            samples = samples.mean(1, keepdims=True)
        name = "MP3" if rate in _MP3_RATES else "FLAC"
        soundfile.write(buffer := io.BytesIO(), samples, rate, format=name)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundRefusedError(404, "the audio file cannot be decoded") from error
    media_type = MEDIA_TYPES[f".{name.lower()}"]
    return EmbeddedSound(media_type, buffer.getvalue(), from_s, from_s + len(samples) / rate)
