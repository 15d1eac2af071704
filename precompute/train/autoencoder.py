"""The demo's autoencoder: waveform -> latents (31.25 Hz x 64) -> waveform.

Losses: multi-resolution STFT (log-magnitude and spectral convergence, as in Stable Audio's autoencoder), the relative
error of the waveform, and a pull of every latent channel towards mean 0 and variance 1. The bottleneck is a soft clip
(tanh): deterministic, so that nothing can collapse to a prior. Noise on the latents while training keeps the decoder
smooth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

CROP_FRAMES = 32  # about one second at 31.25 frames per second
WAVEFORM_WEIGHT = 6.0
UNIT_WEIGHT = 0.2
LATENT_NOISE = 0.1  # largest standard deviation of noise on latents near unit variance; each crop draws its own
SHIFTS = ((17, 18), (18, 17), (8, 9), (9, 8))  # ratios near one and two semitones
WINDOWS = (2048, 1024, 512, 256, 128)  # samples


def measure_stft_distance(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Multi-resolution STFT distance between waveforms [B, T]; scalar, 0 = equal."""
    total = estimate.new_zeros(())
    for size in WINDOWS:
        window = torch.hann_window(size, device=estimate.device)
        magnitudes = [
            torch.stft(x, size, size // 4, window=window, return_complex=True).abs().clamp_min(1e-5)
            for x in (estimate, target)
        ]
        difference = magnitudes[0] - magnitudes[1]
        convergence = difference.norm(dim=(1, 2)) / magnitudes[1].norm(dim=(1, 2)).clamp_min(1.0)
        log_distance = (magnitudes[0].log() - magnitudes[1].log()).abs().mean(dim=(1, 2))
        total = total + (convergence + 0.5 * log_distance).mean()
    return total / len(WINDOWS)


def add_shifted_copies(audio: list[torch.Tensor]) -> list[torch.Tensor]:
    """The waveforms [channels, T], then each one and two semitones up and down (and as much faster or slower).

    Whole semitones keep them in tune with the corpus.
    """
    from torchaudio.functional import resample

    shifted = [resample(wave, down, up) for wave in audio for up, down in SHIFTS]
    return audio + shifted


class AutoencoderLoss:
    """Named losses of random crops of the training audio, for `loop.fit`."""

    def __init__(self, autoencoder: Any, audio: list[torch.Tensor], batch: int) -> None:
        """`audio`: training waveforms, each [channels, T] at the model's rate; `batch` crops per step.

        `autoencoder`: of stable-audio-tools, which brings no types.
        """
        self.autoencoder, self.batch = autoencoder, batch
        self.crop_samples = CROP_FRAMES * autoencoder.downsampling_ratio
        self.audio = [F.pad(x, (0, max(0, self.crop_samples - x.shape[-1]))) for x in audio]

    def draw_crops(self, generator: torch.Generator) -> torch.Tensor:
        """Crops [B, channels, crop_samples] with a random gain of ±6 dB and a random polarity."""
        rows = []
        for index in torch.randint(len(self.audio), (self.batch,), generator=generator).tolist():
            wave = self.audio[index]
            start = int(torch.randint(wave.shape[-1] - self.crop_samples + 1, (1,), generator=generator))
            gain = 2.0 ** (2 * torch.rand(1, generator=generator).item() - 1)
            gain *= 1 if torch.rand(1, generator=generator).item() < 0.5 else -1
            rows.append(gain * wave[:, start : start + self.crop_samples])
        return torch.stack(rows)

    def __call__(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a step; all its random choices come from the generator."""
        target = self.draw_crops(generator).to(next(self.autoencoder.parameters()).device)
        latents = self.autoencoder.encode(target)
        noise = torch.randn(latents.shape, generator=generator)
        noise = LATENT_NOISE * torch.rand(len(noise), 1, 1, generator=generator) * noise
        estimate = self.autoencoder.decode(latents + noise.to(latents.device))
        with torch.autocast(target.device.type, enabled=False):
            wave, truth = estimate.float().flatten(0, 1), target.flatten(0, 1)
            spectral = measure_stft_distance(wave, truth)
            error = (wave - truth).square().sum(1) / truth.square().sum(1).clamp_min(1e-3 * truth.shape[1])
            waveform = error.add(1e-4).sqrt().mean()
            z = latents.float()
            unit = (z.var((0, 2)) - 1).square().mean() + z.mean((0, 2)).square().mean()
            loss = spectral + WAVEFORM_WEIGHT * waveform + UNIT_WEIGHT * unit
        return {"loss": loss, "stft": spectral.detach(), "waveform": waveform.detach(), "unit": unit.detach()}


@torch.no_grad()
def reconstruct(autoencoder: Any, wave: torch.Tensor) -> np.ndarray:
    """Encode and decode [channels, T] -> [channels, T cut to whole latent frames]."""
    length = wave.shape[-1] // autoencoder.downsampling_ratio * autoencoder.downsampling_ratio
    target = wave[None, :, :length].to(next(autoencoder.parameters()).device)
    return autoencoder.decode(autoencoder.encode(target))[0].cpu().numpy()


@torch.no_grad()
def measure_reconstruction(autoencoder: Any, audio: list[torch.Tensor]) -> dict[str, float]:
    """Median SNR and SI-SDR in dB, and mean STFT distance, of reconstructions of waveforms [channels, T]."""
    snr, si_sdr, distance = [], [], []
    for wave in audio:
        estimate = torch.from_numpy(reconstruct(autoencoder, wave))
        target = wave[:, : estimate.shape[-1]]
        x, y = target.flatten().double(), estimate.flatten().double()
        snr.append(10 * torch.log10(x.square().sum() / (x - y).square().sum()))
        projected = (y @ x) / (x @ x) * x
        si_sdr.append(10 * torch.log10(projected.square().sum() / (y - projected).square().sum()))
        distance.append(measure_stft_distance(estimate, target))
    return {
        "snr_db": torch.stack(snr).median().item(),
        "si_sdr_db": torch.stack(si_sdr).median().item(),
        "stft_distance": torch.stack(distance).mean().item(),
    }
