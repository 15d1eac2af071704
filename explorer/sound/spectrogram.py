"""A sound as a picture: time to the right, frequency upward on a log axis, level as colour. Computed when asked for.

Levels are relative to the loudest point of the sound: the picture shows RANGE_DB below it.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

WIDTH, HEIGHT = 1600, 128  # pixels, at most; rows are equal steps of log frequency
WINDOW_S = 0.046  # of one spectrum
LOW_HZ, HIGH_HZ = 40.0, 16_000.0
RANGE_DB = 72.0
# From silence to the loudest, evenly spaced; readable on light pages and on dark ones.
_COLOURS = ((12, 10, 9), (17, 63, 71), (15, 118, 110), (94, 180, 120), (253, 224, 130), (255, 252, 240))


def sum_bands(spectra: np.ndarray, rate: int) -> np.ndarray:
    """Power spectra [T, rfft bins] of a sound of `rate` Hz -> mean power in HEIGHT log-spaced bands [T, HEIGHT]."""
    edges = np.geomspace(LOW_HZ, min(HIGH_HZ, rate / 2), HEIGHT + 1) / (rate / 2) * (spectra.shape[1] - 1)
    # Running sums, interpolated between bins: low bands are narrower than a bin. In fp64, as their differences count.
    total = np.concatenate([np.zeros((len(spectra), 1)), np.cumsum(spectra, axis=1, dtype=np.float64)], axis=1)
    at = np.clip(edges + 0.5, 0, spectra.shape[1])
    low = np.minimum(at.astype(int), spectra.shape[1] - 1)
    running = total[:, low] + (at - low) * spectra[:, low]
    return np.diff(running, axis=1) / np.diff(at)


def measure_levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples [L] of one channel -> level of each pixel, [HEIGHT, T <= WIDTH], 0..1 over RANGE_DB; low tones last."""
    size = max(256, 1 << round(np.log2(WINDOW_S * rate)))
    padded = np.pad(samples.astype(np.float32), (size // 2, size))
    count = max(1, min(WIDTH, len(samples) // (size // 8)))
    starts = np.linspace(0, len(samples), count, endpoint=False).astype(int)
    window = np.hanning(size).astype(np.float32)
    power = np.empty((count, HEIGHT))
    for part in np.array_split(np.arange(count), max(1, count // 200)):  # a few MB at a time
        frames = padded[starts[part, None] + np.arange(size)] * window
        power[part] = sum_bands(np.abs(np.fft.rfft(frames, axis=1)) ** 2, rate)
    decibels = 10 * np.log10(power + 1e-12)
    loudest = decibels.max()
    if loudest <= -110:  # digital silence has no loudest point
        return np.zeros((HEIGHT, count))
    return np.clip((decibels - loudest) / RANGE_DB + 1, 0, 1).T[::-1]


def build_palette() -> list[int]:
    """256 colours as PIL takes them."""
    steps = np.linspace(0, len(_COLOURS) - 1, 256)
    table = np.array(_COLOURS, dtype=float)
    channels = [np.interp(steps, np.arange(len(_COLOURS)), table[:, i]) for i in range(3)]
    return [int(v) for v in np.stack(channels, axis=1).round().ravel()]


@lru_cache(maxsize=64)  # 50 to 150 kB each
def draw_spectrogram(path: Path, seconds: float, mtime_ns: int) -> bytes:
    """PNG of the first `seconds` of a file. `mtime_ns` keeps a replaced file from being shown stale.

    Raises OSError or soundfile.LibsndfileError where the file cannot be read.
    """
    with soundfile.SoundFile(path) as source:
        rate = source.samplerate
        samples = source.read(int(seconds * rate), dtype="float32", always_2d=True).mean(1)
    pixels = np.round(255 * measure_levels(samples, rate)).astype(np.uint8)
    image = Image.fromarray(pixels, mode="P")
    image.putpalette(build_palette())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
