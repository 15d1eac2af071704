"""A CLAP of transformers (`ClapModel`): one unit-length embedding space for text and audio.

Used twice: its text embedding is the demo model's prompt, and its audio embedding compares recordings. Audio longer
than one window is cut at fixed places and averaged, never at random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from precompute.errors import UserError
from precompute.model import third_party

# Of transformers, whose classes are typed too loosely to check calls by:
Network = Any  # ClapModel
Tokenizer = Any
Extractor = Any  # ClapFeatureExtractor


class Clap:
    """Text and audio to vectors of length 1, dimension E."""

    def __init__(self, model: Network, tokenizer: Tokenizer, extractor: Extractor) -> None:
        self.model: Network = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.extractor = extractor

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Clap:
        """From a folder as `save_pretrained` writes it. Raises UserError where it is missing or incomplete."""
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no CLAP here (config.json is missing); set [model] clap to a ClapModel folder")
        return cls._read(str(folder), True, device)

    @classmethod
    def from_hub(cls, name: str, cached: bool, device: str = "cpu") -> Clap:
        """By hub id; `cached`: take it from this machine and do not go online. Raises UserError."""
        return cls._read(name, cached, device)

    @classmethod
    def _read(cls, source: str, offline: bool, device: str) -> Clap:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        try:
            with third_party.hide_progress_bars():
                model: Network = ClapModel.from_pretrained(source, local_files_only=offline, dtype=torch.float32)
                tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=offline)
                extractor = ClapFeatureExtractor.from_pretrained(source, local_files_only=offline)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{source}: this CLAP cannot be loaded ({reason})") from error
        if model.config.audio_config.enable_fusion:
            raise UserError(f"{source}: a CLAP with fusion, whose crops are random; take one without")
        return cls(model.to(device), tokenizer, extractor)

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `audio` expects, in hertz."""
        return int(self.extractor.sampling_rate)

    @torch.no_grad()
    def text(self, prompts: list[str]) -> torch.Tensor:
        """Prompts -> [N, E] float32."""
        return F.normalize(compute_text_features(self.model, self.tokenizer, prompts), dim=-1).cpu()

    @torch.no_grad()
    def audio(self, waves: list[np.ndarray]) -> torch.Tensor:
        """Mono waveforms at `sample_rate`, each [T] -> [N, E] float32; fixed windows, averaged."""
        window = int(self.extractor.nb_max_samples)
        rows = []
        for wave in waves:
            mel = compute_mel(self.extractor, cut_crops(wave, window))
            features = compute_audio_features(self.model, mel.to(self.model.device))
            rows.append(F.normalize(F.normalize(features, dim=-1).mean(0), dim=-1).cpu())
        return torch.stack(rows)


def cut_crops(wave: np.ndarray, length: int) -> list[np.ndarray]:
    """[T] cut every `length` samples from its start; a rest shorter than half of that is left out, if not all."""
    return [wave[start : start + length] for start in range(0, max(1, len(wave) - length // 2), length)]


def compute_text_features(model: Network, tokenizer: Tokenizer, prompts: list[str]) -> torch.Tensor:
    """Prompts -> [N, E], not normalised."""
    tokens = tokenizer(prompts, padding=True, truncation=True, max_length=40, return_tensors="pt").to(model.device)
    hidden = model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
    return model.text_projection(hidden)


def compute_mel(extractor: Extractor, waves: list[np.ndarray]) -> torch.Tensor:
    """Mono waveforms at the extractor's rate -> log-mel [N, 1, frames, bins]."""
    inputs = extractor(waves, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    return inputs["input_features"].float()


def compute_audio_features(model: Network, mel: torch.Tensor) -> torch.Tensor:
    """Log-mel [N, 1, frames, bins] -> [N, E], not normalised."""
    return model.audio_projection(model.audio_model(input_features=mel).pooler_output)
