"""A file of sound -> samples. What libsndfile does not read (M4A, AAC, Opus in MP4, WMA) is decoded by PyAV.

Conventions: samples are float32 in [-1, 1], shape [channels, T], or [T, channels] in blocks; times in seconds. No torch
here. A file is read block by block where its length may be hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BY_SOUNDFILE = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"}
BY_AV = {".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka"}
SUFFIXES = BY_SOUNDFILE | BY_AV
SOUGHT = BY_SOUNDFILE - {".mp3", ".ogg", ".opus"}  # a jump into these is not exact to the sample
BLOCK = 1 << 18  # samples


class AudioError(Exception):
    """Why one file cannot be used; the file is named by whoever catches this."""


@dataclass(frozen=True)
class Shape:
    """What a file holds, counted by decoding it."""

    sample_rate: int  # hertz
    channels: int
    samples: int  # a channel

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def scan(path: Path) -> Shape:
    """Decode a whole file and look at every sample. Raises AudioError: missing, unreadable, empty, or not finite."""
    samples, rate, channels = 0, 0, 0
    for rate, block in blocks(path):  # noqa: B007 - the last rate counts below; all are the same
        if not np.isfinite(block).all():
            raise AudioError("holds samples that are not finite (NaN or infinity)")
        samples, channels = samples + len(block), block.shape[1]
    if not samples:
        raise AudioError("empty: it holds no samples")
    return Shape(rate, channels, samples)


def blocks(path: Path, start_s: float = 0.0, end_s: float = float("inf")) -> Iterator[tuple[int, np.ndarray]]:
    """(sample rate, samples [T, channels]) of the span, in order. Raises AudioError."""
    if not path.is_file():
        raise AudioError("missing")
    decode = _by_av if path.suffix.lower() in BY_AV else _by_soundfile
    for rate, at, block in decode(path, start_s):
        first = max(0, round(start_s * rate) - at)
        last = len(block) if end_s == float("inf") else min(len(block), round(end_s * rate) - at)
        if last > first:
            yield rate, block[first:last]
        if last < len(block):
            return


def read_span(path: Path, start_s: float = 0.0, end_s: float = float("inf")) -> tuple[np.ndarray, int]:
    """Samples [channels, T] of a span at the file's own rate, and that rate. Raises AudioError as `scan` does."""
    parts, rate = [], 0
    for rate, block in blocks(path, start_s, end_s):  # noqa: B007
        parts.append(block)
    if not parts:
        raise AudioError("empty: it holds no samples")
    wave = np.concatenate(parts).T
    if not np.isfinite(wave).all():
        raise AudioError("holds samples that are not finite (NaN or infinity)")
    return wave, rate


def read_audio(path: Path, sample_rate: int, channels: int) -> np.ndarray:
    """Samples [channels, T] at `sample_rate`. Raises AudioError: missing, unreadable, empty, or not finite."""
    wave, rate = read_span(path)
    return converted(wave, rate, sample_rate, channels)


def converted(wave: np.ndarray, rate: int, sample_rate: int, channels: int) -> np.ndarray:
    """[channels, T] at another rate and with other channels: more or fewer channels are copies of the mean."""
    if wave.shape[0] != channels:
        wave = np.repeat(wave.mean(0, keepdims=True), channels, axis=0)
    if rate != sample_rate:
        import soxr

        wave = soxr.resample(wave.T, rate, sample_rate, quality="HQ").T
    return np.ascontiguousarray(wave, dtype=np.float32)


def _by_soundfile(path: Path, start_s: float) -> Iterator[tuple[int, int, np.ndarray]]:
    """(sample rate, position in the file, samples [T, channels])."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            at = min(round(start_s * file.samplerate), file.frames) if path.suffix.lower() in SOUGHT else 0
            if at:
                file.seek(at)
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                yield file.samplerate, at, block
                at += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"unreadable (damaged, or not what its name says: {_reason(error.error_string)})") from error
    except OSError as error:
        raise AudioError(f"unreadable ({error})") from error


def _reason(said: str) -> str:
    """libsndfile's, but for the one that it gives of a file that is there and holds no sound."""
    return "no sound in it" if "does not exist" in said else said.removeprefix("Error : ").rstrip(". ")


def _by_av(path: Path, start_s: float) -> Iterator[tuple[int, int, np.ndarray]]:
    """The same, from the beginning, whatever `start_s`: seeking in compressed streams is not exact to the sample."""
    try:
        import av
    except ModuleNotFoundError:
        raise AudioError(f"{path.suffix} needs the package av: pip install av, or convert it to FLAC") from None
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError("unreadable (it holds no sound)")
            stream = container.streams.audio[0]
            resampler: Any = None
            at = 0
            for frame in container.decode(stream):
                if resampler is None:
                    resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
                for part in resampler.resample(frame):
                    block = part.to_ndarray().reshape(-1, len(part.layout.channels))
                    yield part.sample_rate, at, block
                    at += len(block)
    except (av.FFmpegError, OSError) as error:
        raise AudioError(f"unreadable ({error})") from error
