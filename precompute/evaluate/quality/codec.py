"""Losses of the autoencoder on decoys as recorded (it never heard them), and its metallic ringing.

Sound in, latents, sound out. Levels are in dB relative to full scale, latents in the units of the transformer (the
pretransform's scale applied).

Ringing: a decoder that writes `patch_size` samples at a time repeats what is equal in every patch, sample_rate /
patch_size times a second (125 Hz at 256 samples of 32 kHz), which puts lines into the spectrum at multiples of that
rate. The contrast of a recording is its level at those multiples less that between them. Noise has none; music may have
some of its own, since notes lie near some multiples (125 Hz near B), so that what a decoder adds is read against
recordings as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from precompute.common import seeds
from precompute.evaluate.quality.distances import estimate_mean
from precompute.evaluate.quality.measures import Measurement
from precompute.model.diffusion import Model
from precompute.train.autoencoder import measure_stft_distance

BANDS_HZ = ((0, 1000), (1000, 2000), (2000, 4000), (4000, 8000))
WINDOW = 2048  # samples
NUDGE = 0.1  # of a latent's standard deviation
QUIET_DB = -60.0  # below the loudest bin of a track, a bin counts as silent
RINGING_BANDS_HZ = ((500, 2000), (2000, 6000), (6000, 12000))
RINGING_BINS = 16  # of the spectrum between two multiples
ON, BETWEEN = (-1, 0, 1), (-8, -7, -6, -5, -4, 4, 5, 6, 7)  # bins from a multiple; a line is 3 to 5 bins wide
RINGING_FLOOR_DB = 100.0  # below the loudest bin: what is fainter counts as silence


def measure_codec(model: Model, waves: Sequence[np.ndarray]) -> list[Measurement]:
    """Measures over recordings [channels, T] at the model's rate, each up to the model's longest.

    `si_sdr_db`, `snr_db`: medians would hide the tail, so means with intervals. `stft_distance`: multi-resolution, 0 =
    equal. `band_error_db`: mean absolute error of the spectrum's level within a band, over bins that sound.
    `low_pass_db`: SI-SDR of a low-pass that needs as many numbers per second as the latents do, its yardstick.
    `silence_db`: level of decoded silence. `onset_blur_db`: error in the first 50 ms of the loudest attack, relative to
    it. `nudge_db`: what a random change of NUDGE standard deviations in every latent changes, relative to the sound;
    `nudge_stft`: the same as STFT distance, small beside that of the reconstruction where the latents are smooth.
    `latent_mean`, `latent_deviation`: largest |mean|, and smallest and largest deviation of a channel.
    """
    measured: dict[tuple[str, str], list[float]] = {}
    sums, squares = torch.zeros(2, model.latent_channels, dtype=torch.float64)
    frames = 0
    generator = torch.Generator().manual_seed(seeds.CODEC)
    values_a_second = model.latent_channels * model.frame_rate
    for wave in waves:
        samples = min(wave.shape[-1], model.sample_size)
        latents = model.encode(wave)
        rebuilt = model.decode(latents)[:, :samples]
        truth = wave[:, :samples]
        noise = torch.randn(latents.shape, generator=generator)
        nudged = model.decode(latents + NUDGE * noise)[:, :samples]
        values = {
            ("snr_db", ""): _to_db(_measure_power(truth) / _measure_power(truth - rebuilt)),
            ("si_sdr_db", ""): measure_si_sdr(truth, rebuilt),
            ("low_pass_db", ""): measure_si_sdr(
                truth, apply_low_pass(truth, model.sample_rate, values_a_second / 2 / len(truth))
            ),
            ("stft_distance", ""): float(measure_stft_distance(torch.from_numpy(rebuilt), torch.from_numpy(truth))),
            ("onset_blur_db", ""): measure_attack_error(truth, rebuilt, model.sample_rate),
            ("nudge_db", ""): _to_db(_measure_power(nudged - rebuilt) / _measure_power(rebuilt)),
            ("nudge_stft", ""): float(measure_stft_distance(torch.from_numpy(nudged), torch.from_numpy(rebuilt))),
        }
        for low, high in BANDS_HZ:
            values["band_error_db", f"{low}-{high} Hz"] = measure_band_error(
                truth, rebuilt, model.sample_rate, low, high
            )
        for key, value in values.items():
            measured.setdefault(key, []).append(value)
        valid = latents[:, : model.valid_frames(samples)].double()
        sums, squares, frames = sums + valid.sum(1), squares + valid.square().sum(1), frames + valid.shape[1]
    rows = [
        Measurement.from_estimate(name, "", of or "decoys", estimate_mean(np.array(values)[np.isfinite(values)]))
        for (name, of), values in measured.items()
        if np.isfinite(values).any()
    ]
    silence = model.decode(model.encode(np.zeros((model.channels, model.sample_size), np.float32)))
    mean = sums / frames
    deviation = (squares / frames - mean.square()).sqrt()
    single = {
        "silence_db": _to_db(_measure_power(silence)),
        "latent_mean": float(mean.abs().max()),
        "latent_deviation_least": float(deviation.min()),
        "latent_deviation_most": float(deviation.max()),
    }
    return rows + [Measurement(name, "", "decoys", value, value, value) for name, value in single.items()]


def measure_si_sdr(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), over all channels together."""
    x, y = truth.astype(np.float64).ravel(), estimate.astype(np.float64).ravel()
    projected = (y @ x) / max(x @ x, 1e-20) * x
    return _to_db(_measure_power(projected) / _measure_power(y - projected))


def apply_low_pass(wave: np.ndarray, sample_rate: int, hz: float) -> np.ndarray:
    """[channels, T] without anything above `hz`; a second of it takes 2 x hz numbers per channel."""
    spectrum = np.fft.rfft(wave.astype(np.float64), axis=-1)
    spectrum[:, np.fft.rfftfreq(wave.shape[-1], 1 / sample_rate) > hz] = 0
    return np.fft.irfft(spectrum, wave.shape[-1], axis=-1)


def measure_band_error(
    truth: np.ndarray, estimate: np.ndarray, sample_rate: int, low_hz: float, high_hz: float
) -> float:
    """Mean absolute difference in dB of short-time spectra within a band, over bins that sound; nan where none does."""
    import librosa

    one, other = (
        librosa.amplitude_to_db(np.abs(librosa.stft(w.mean(0), n_fft=WINDOW)), ref=1.0, amin=1e-6, top_db=None)
        for w in (truth, estimate)
    )
    hz = librosa.fft_frequencies(sr=sample_rate, n_fft=WINDOW)
    chosen = ((hz >= low_hz) & (hz < high_hz))[:, None] & (one > one.max() + QUIET_DB)
    return float(np.abs(one - other)[chosen].mean()) if chosen.any() else float("nan")


def measure_attack_error(truth: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Error in the 50 ms around the steepest rise of level, in dB relative to what sounds there."""
    hop = max(1, round(0.01 * sample_rate))
    mono, other = truth.mean(0), estimate.mean(0)
    steps = len(mono) // hop
    if steps < 6:
        return float("nan")
    level = np.sqrt((mono[: steps * hop].reshape(steps, hop).astype(np.float64) ** 2).mean(1))
    start = int(np.diff(level).argmax()) * hop
    part = slice(start, start + 5 * hop)
    return _to_db(_measure_power(mono[part] - other[part]) / _measure_power(mono[part]))


def _measure_power(wave: np.ndarray) -> float:
    """Mean square, above 0."""
    return max(float((wave.astype(np.float64) ** 2).mean()), 1e-20)


def _to_db(ratio: float) -> float:
    """A ratio of powers in dB, at least -200."""
    return float(10 * np.log10(max(ratio, 1e-20)))


# -- ringing ----------------------------------------------------------------------------------------------------


def find_patch_rate(model: Model) -> float | None:
    """Patches per second of the model's decoder, in hertz; None where it has no patches."""
    inner = model.config.get("model", {}).get("pretransform", {}).get("config", {}).get("pretransform") or {}
    size = inner.get("config", {}).get("patch_size") if inner.get("type") == "patched" else None
    return model.sample_rate / size if size else None


def measure_contrast(wave: np.ndarray, sample_rate: int, rate_hz: float, low_hz: float, high_hz: float) -> float:
    """Level at multiples of `rate_hz` within a band less the level between them, dB; mono [T]; nan without multiples.

    Spectrum: mean power over time under Hann windows of 16 periods; means of dB on both sides, so that one loud
    partial does not decide.
    """
    import librosa

    window = round(RINGING_BINS * sample_rate / rate_hz)
    padded = np.pad(np.asarray(wave, np.float32), (0, max(0, window - len(wave))))
    power = (np.abs(librosa.stft(padded, n_fft=window, hop_length=window // 4, center=False)) ** 2).mean(1)
    level = 10 * np.log10(np.maximum(power, max(power.max() * 10 ** (-RINGING_FLOOR_DB / 10), 1e-20)))
    first, last = int(np.ceil(low_hz / rate_hz)), int(np.ceil(high_hz / rate_hz)) - 1
    centres = np.arange(max(1, first), last + 1) * RINGING_BINS
    centres = centres[centres + max(BETWEEN) < len(level)]
    if not len(centres):
        return float("nan")
    on, between = (level[centres[:, None] + np.array(bins)].mean() for bins in (ON, BETWEEN))
    return float(on - between)


def measure_ringing(model: Model, sets: Mapping[str, Sequence[np.ndarray]]) -> list[Measurement]:
    """`ringing_db` of each set of waveforms [channels, T] in each band, mean with its interval; none without patches.

    The band stands in a row's `space`: "500-2000 Hz". Bands above half the sample rate are left out.
    """
    rate = find_patch_rate(model)
    if rate is None:
        print("the decoder has no patches: ringing at their rate is not measured")
        return []
    rows = []
    for low, high in RINGING_BANDS_HZ:
        for of, waves in sets.items():
            values = np.array([measure_contrast(wave.mean(0), model.sample_rate, rate, low, high) for wave in waves])
            values = values[np.isfinite(values)]
            if len(values):
                rows.append(Measurement.from_estimate("ringing_db", f"{low}-{high} Hz", of, estimate_mean(values)))
    return rows
