"""A file of sound -> samples, loudness and waveform peaks.

What libsndfile does not read (M4A, AAC, Opus in MP4, WMA) is decoded by PyAV.

Conventions: samples are float32 in [-1, 1], shape [channels, T], or [T, channels] in blocks; times in seconds; loudness
in LUFS (ITU-R BS.1770), levels in dBFS. A file is read block by block where its length may be hours. Needs no torch.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from precompute.common.files import hash_file, write_atomically

BY_SOUNDFILE = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"}
BY_AV = {".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka"}
SUFFIXES = BY_SOUNDFILE | BY_AV
SOUGHT = BY_SOUNDFILE - {".mp3", ".ogg", ".opus"}  # a jump into these is not exact to the sample
BLOCK = 1 << 18  # samples
FLAC_24 = {"format": "FLAC", "subtype": "PCM_24"}
PEAK_BINS = 400  # of the waveform drawn on the page


class AudioError(Exception):
    """Why one file cannot be used; whoever catches it names the file."""


@dataclass(frozen=True)
class SoundShape:
    """Rate, channels and length of a file, counted by decoding it."""

    sample_rate: int  # hertz
    channels: int
    samples: int  # per channel

    @property
    def seconds(self) -> float:
        """Length."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Analysis:
    """Length, loudness and waveform peaks of a recording, by which the page draws and levels it."""

    sha256: str
    duration_s: float
    loudness_lufs: float | None  # None: shorter than one 0.4 s block, or silent
    peak_dbfs: float
    peaks: np.ndarray = field(repr=False)  # [PEAK_BINS] uint8, largest magnitude per bin


def scan(path: Path) -> SoundShape:
    """Decode a whole file and look at every sample. Raises AudioError: missing, unreadable, empty, or not finite."""
    samples, rate, channels = 0, 0, 0
    for rate, block in blocks(path):  # noqa: B007 - the last rate counts below; all are the same
        if not np.isfinite(block).all():
            raise AudioError("holds samples that are not finite (NaN or infinity)")
        samples, channels = samples + len(block), block.shape[1]
    if not samples:
        raise AudioError("empty: it holds no samples")
    return SoundShape(rate, channels, samples)


def blocks(path: Path, start_s: float = 0.0, end_s: float = float("inf")) -> Iterator[tuple[int, np.ndarray]]:
    """(sample rate, samples [T, channels]) of the span, in order. Raises AudioError."""
    if not path.is_file():
        raise AudioError("missing")
    decode = _decode_by_av if path.suffix.lower() in BY_AV else _decode_by_soundfile
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
    return convert(wave, rate, sample_rate, channels)


def convert(wave: np.ndarray, rate: int, sample_rate: int, channels: int) -> np.ndarray:
    """[channels, T] at another rate and with other channels: more or fewer channels are copies of the mean."""
    if wave.shape[0] != channels:
        wave = np.repeat(wave.mean(0, keepdims=True), channels, axis=0)
    if rate != sample_rate:
        import soxr

        wave = soxr.resample(wave.T, rate, sample_rate, quality="HQ").T
    return np.ascontiguousarray(wave, dtype=np.float32)


def analyse(path: Path) -> Analysis:
    """Hash, length, loudness and waveform peaks of a file as it is played. Raises AudioError."""
    wave, rate = read_span(path)
    return analyse_wave(wave, rate, hash_file(path))


def analyse_wave(wave: np.ndarray, sample_rate: int, sha256: str) -> Analysis:
    """Length, loudness and waveform peaks of samples [channels, T]; `sha256` is that of their file."""
    import pyloudnorm

    loudness = None
    if wave.shape[1] > 0.4 * sample_rate:
        with np.errstate(divide="ignore"):
            value = float(pyloudnorm.Meter(sample_rate).integrated_loudness(wave.T.astype(np.float64)))
        loudness = value if math.isfinite(value) else None
    magnitude = np.abs(wave).max(0)
    edges = np.linspace(0, len(magnitude), min(PEAK_BINS, len(magnitude)) + 1).astype(int)
    peaks = np.maximum.reduceat(magnitude, edges[:-1])
    return Analysis(
        sha256=sha256,
        duration_s=wave.shape[1] / sample_rate,
        loudness_lufs=loudness,
        peak_dbfs=20 * math.log10(max(float(magnitude.max()), 1e-6)),
        peaks=np.round(np.clip(peaks, 0, 1) * 255).astype(np.uint8),
    )


def write_sound(path: Path, wave: np.ndarray, sample_rate: int, form: Mapping[str, Any] = FLAC_24) -> None:
    """Write samples [channels, T]; `form`: arguments for soundfile. Raises OSError: disk full, ..."""
    write_atomically(path, encode_sound(wave, sample_rate, form))


def encode_sound(wave: np.ndarray, sample_rate: int, form: Mapping[str, Any] = FLAC_24) -> bytes:
    """A file's bytes; in memory first, since a full disk is then an OSError like any other."""
    import soundfile

    encoded = io.BytesIO()
    soundfile.write(encoded, wave.T, sample_rate, **form)
    return encoded.getvalue()


def _decode_by_soundfile(path: Path, start_s: float) -> Iterator[tuple[int, int, np.ndarray]]:
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
        raise AudioError(
            f"unreadable (damaged, or not what its name says: {_word_reason(error.error_string)})"
        ) from error
    except OSError as error:
        raise AudioError(f"unreadable ({error})") from error


def _word_reason(message: str) -> str:
    """libsndfile's message; "does not exist" is what it says of a file that is there and holds no sound."""
    return "no sound in it" if "does not exist" in message else message.removeprefix("Error : ").rstrip(". ")


def _decode_by_av(path: Path, start_s: float) -> Iterator[tuple[int, int, np.ndarray]]:
    """Like `_decode_by_soundfile`, but always from 0 s: seeking in compressed streams is not exact to the sample."""
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
