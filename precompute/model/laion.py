"""A CLAP checkpoint of laion_clap (`.pt`): audio -> vectors of length 1; no text.

Only the audio half of the file is used. laion_clap loads three tokenizers from a hub when it is imported, and a text
encoder when it builds a model; neither is needed for audio, so both are left out, and nothing goes online. Sounds are
48 kHz mono, quantised to 16 bits as the package does. The package takes one random 10 s crop of longer audio, so that
the same file gives another embedding each time; here fixed cut_crops are averaged.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from precompute.errors import UserError
from precompute.model import third_party
from precompute.model.clap import cut_crops
from precompute.model.weights import READ_ERRORS, read_tensors

RATE = 48_000  # hertz
CROP = 10 * RATE  # samples
WIDTHS = {96: "tiny", 128: "base", 256: "large"}  # channels of the first layer -> name of the HTSAT
FEATURES = {
    "audio_length": 1024,
    "clip_samples": CROP,
    "mel_bins": 64,
    "sample_rate": RATE,
    "window_size": 1024,
    "hop_size": 480,
    "fmin": 50,
    "fmax": 14_000,
    "class_num": 527,
    "model_type": "HTSAT",
}
AUDIO_PARTS = ("audio_branch.", "audio_projection.")


class LaionClap:
    """The audio half of a CLAP, dimension E = 512."""

    sample_rate = RATE

    def __init__(self, branch: nn.Module, projection: nn.Module) -> None:
        self.branch = branch.eval().requires_grad_(False)
        self.projection = projection.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> LaionClap:
        """From a `.pt` without fusion, such as music_audioset_epoch_15_esc_90.14.pt. Raises UserError in one line."""
        if not path.is_file():
            raise UserError(f"{path}: no CLAP checkpoint here; name a laion_clap .pt file")
        try:
            content = read_tensors(path)
            weights = {n.removeprefix("module."): v for n, v in content.get("state_dict", content).items()}
            audio = {n: v for n, v in weights.items() if n.startswith(AUDIO_PARTS)}
            width = audio["audio_branch.patch_embed.proj.weight"].shape[0]
        except READ_ERRORS as error:
            reason = (str(error).splitlines() or ["it is empty"])[0]
            raise UserError(f"{path}: not a laion_clap checkpoint ({reason})") from error
        if any("fusion_model" in name for name in audio):
            raise UserError(f"{path}: a CLAP with fusion; take one without, such as music_audioset_epoch_15_esc_90.14")
        branch = _make_htsat(path, WIDTHS.get(width, ""))
        network = nn.ModuleDict({"audio_branch": branch, "audio_projection": _make_head(audio)})
        try:
            network.load_state_dict(audio)
        except RuntimeError as error:
            raise UserError(f"{path}: does not fit HTSAT-{WIDTHS[width]} ({str(error).splitlines()[0]})") from error
        return cls(network["audio_branch"].to(device), network["audio_projection"].to(device))

    @torch.no_grad()
    def audio(self, waves: list[np.ndarray]) -> torch.Tensor:
        """Mono waveforms at `sample_rate`, each [T] -> [N, E] float32; fixed cut_crops, averaged."""
        device = next(self.projection.parameters()).device
        rows = []
        for wave in waves:
            batch = np.stack([_fill_crop(crop) for crop in cut_crops(wave, CROP)])
            output = self.branch({"waveform": torch.from_numpy(batch).to(device)}, mixup_lambda=None, device=device)
            embedded = F.normalize(self.projection(output["embedding"]), dim=-1)
            rows.append(F.normalize(embedded.mean(0), dim=-1).cpu())
        return torch.stack(rows)


def _fill_crop(crop: np.ndarray) -> np.ndarray:
    """[T] -> [CROP]: quantised to 16 bits; short audio repeated whole as often as it fits, then zeros."""
    crop = (np.clip(crop, -1, 1) * 32767).astype(np.int16).astype(np.float32) / 32767
    out = np.zeros(CROP, dtype=np.float32)
    repeated = np.tile(crop, CROP // len(crop))
    out[: len(repeated)] = repeated
    return out


def _make_head(weights: dict[str, torch.Tensor]) -> nn.Module:
    inside, joint = (weights[f"audio_projection.{k}.weight"].shape[1] for k in (0, 2))
    return nn.Sequential(nn.Linear(inside, joint), nn.ReLU(), nn.Linear(joint, joint))


def _make_htsat(path: Path, name: str) -> nn.Module:
    """An audio transformer of the package, by its size, with random weights."""
    if not name:
        raise UserError(f"{path}: its audio encoder is no HTSAT of a known size ({', '.join(WIDTHS.values())})")
    try:
        create = third_party.import_htsat()
    except ImportError as error:
        raise UserError(f"{path}: needs the package laion-clap, which cannot be imported here ({error})") from error
    return create(SimpleNamespace(**FEATURES, model_name=name))
