"""Metallic ringing: lines that a decoder of patches puts into the spectrum at multiples of the rate of its patches.

A decoder that writes `patch_size` samples at a time repeats what is the same in every patch sample_rate / patch_size
times a second (125 Hz at 256 samples of 32 kHz). The contrast of any recording is its level at those multiples less
that between them. Noise has none; music may have some of its own, since notes lie near some multiples (125 Hz near B),
so that what a decoder adds is read against recordings as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precompute.evaluate.quality.distances import mean_estimate
from precompute.evaluate.quality.measures import Row
from precompute.model.diffusion import Model

BANDS_HZ = ((500, 2000), (2000, 6000), (6000, 12000))
BINS = 16  # of the spectrum between two multiples
ON, BETWEEN = (-1, 0, 1), (-8, -7, -6, -5, -4, 4, 5, 6, 7)  # bins from a multiple; a line is 3 to 5 bins wide
FLOOR_DB = 100.0  # below the loudest bin: what is fainter counts as silence


def patch_rate(model: Model) -> float | None:
    """Patches a second of the model's decoder, in hertz; None where it has no patches."""
    inner = model.config.get("model", {}).get("pretransform", {}).get("config", {}).get("pretransform") or {}
    size = inner.get("config", {}).get("patch_size") if inner.get("type") == "patched" else None
    return model.sample_rate / size if size else None


def contrast(wave: np.ndarray, sample_rate: int, rate_hz: float, low_hz: float, high_hz: float) -> float:
    """Level at multiples of `rate_hz` within a band less the level between them, dB; mono [T]; nan without multiples.

    Spectrum: mean power over time under Hann windows of BINS periods; means of dB on both sides, so that one loud
    partial does not decide.
    """
    import librosa

    window = round(BINS * sample_rate / rate_hz)
    padded = np.pad(np.asarray(wave, np.float32), (0, max(0, window - len(wave))))
    power = (np.abs(librosa.stft(padded, n_fft=window, hop_length=window // 4, center=False)) ** 2).mean(1)
    level = 10 * np.log10(np.maximum(power, max(power.max() * 10 ** (-FLOOR_DB / 10), 1e-20)))
    first, last = int(np.ceil(low_hz / rate_hz)), int(np.ceil(high_hz / rate_hz)) - 1
    centres = np.arange(max(1, first), last + 1) * BINS
    centres = centres[centres + max(BETWEEN) < len(level)]
    if not len(centres):
        return float("nan")
    on, between = (level[centres[:, None] + np.array(bins)].mean() for bins in (ON, BETWEEN))
    return float(on - between)


def ringing_rows(model: Model, sets: dict[str, Sequence[np.ndarray]]) -> list[Row]:
    """`ringing_db` of each set of waveforms [channels, T] in each band, mean with its interval; none without patches.

    The band stands in a row's `space`: "500-2000 Hz". Bands above half the sample rate are left out.
    """
    rate = patch_rate(model)
    if rate is None:
        print("the decoder has no patches: ringing at their rate is not measured")
        return []
    rows = []
    for low, high in BANDS_HZ:
        for of, waves in sets.items():
            values = np.array([contrast(wave.mean(0), model.sample_rate, rate, low, high) for wave in waves])
            values = values[np.isfinite(values)]
            if len(values):
                rows.append(Row.of_estimate("ringing_db", f"{low}-{high} Hz", of, mean_estimate(values)))
    return rows
