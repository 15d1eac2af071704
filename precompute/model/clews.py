"""CLEWS (arXiv 2502.16936): windows of a recording -> embeddings in which versions of one work are near each other.

The published architecture, written anew, with the parameter names of the published checkpoints, so that these load
unchanged: constant-Q magnitudes, two strided convolutions, residual blocks with half instance, half batch normalisation
before each convolution (gain 0 at the start), generalised-mean pooling, a linear map. Sounds are mono at 16 kHz;
a window shorter than the network's is repeated; the published noise of 1e-6 on the constant-Q input is left out.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from precompute.common.files import write_atomically
from precompute.errors import UserError
from precompute.model.weights import READ_ERRORS, read_tensors

LOWEST_HZ = 32.70  # the C of the lowest bin
FLOOR = 1e-6  # keeps divisions and powers finite
BATCH = 16  # windows a forward pass


@dataclass(frozen=True)
class ClewsShape:
    """The settings of a network. The defaults are the published models' (dimension: 1024 DVI, 2048 SHS)."""

    sample_rate: int = 16_000  # hertz
    window_s: float = 20.0
    hop_s: float = 5.0  # between windows when comparing (training used 20)
    cqt_hop_s: float = 0.02
    octaves: int = 7
    bins: int = 12  # an octave
    pool: int = 5  # constant-Q frames averaged into one
    power: float = 0.5  # of the magnitudes
    front: tuple[int, ...] = (128, 256)  # channels of the two convolutions
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    channels: tuple[int, ...] = (256, 512, 1024, 2048)
    strides: tuple[int, ...] = (1, 2, 2, 1)
    dimension: int = 1024


class ConstantQ(nn.Module):
    """Waveforms [B, T] -> constant-Q magnitudes [B, bins, T // hop + 1], reflected at both ends.

    Bin k is a Hann-windowed complex tone of ceil(Q rate / f_k) samples with magnitudes summing to 1 (Brown 1991),
    times the square root of that length. Bins of like length share one convolution.
    """

    def __init__(self, rate: int, hop: int, bins: int, per_octave: int) -> None:
        super().__init__()
        self.hop = hop
        quality = 1 / (2 ** (1 / per_octave) - 1)
        hertz = LOWEST_HZ * 2 ** (np.arange(bins) / per_octave)
        lengths = np.ceil(quality * rate / hertz)
        self.margin = 2 ** math.ceil(math.log2(lengths[0])) // 2  # samples reflected at each end
        starts = range(0, bins, per_octave)
        for group, start in enumerate(starts):
            rows = slice(start, start + per_octave)
            kernels = _make_tones(hertz[rows], lengths[rows], rate)
            self.register_buffer(f"tones{group}", torch.from_numpy(kernels), persistent=False)
        self.groups = len(starts)
        self.root: torch.Tensor
        self.register_buffer("root", torch.from_numpy(np.sqrt(lengths)).float(), persistent=False)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """[B, T] -> [B, bins, T // hop + 1]."""
        padded = F.pad(waves[:, None], (self.margin, self.margin), mode="reflect")
        frames = waves.shape[-1] // self.hop + 1
        parts = []
        for group in range(self.groups):
            tones = getattr(self, f"tones{group}")  # [2, bins, L]: real and imaginary
            first = self.margin - tones.shape[-1] // 2
            span = padded[..., first : first + (frames - 1) * self.hop + tones.shape[-1]]
            both = F.conv1d(span, tones.flatten(0, 1)[:, None], stride=self.hop).unflatten(1, tones.shape[:2])
            parts.append(both.square().sum(1).sqrt())
        return torch.cat(parts, 1) * self.root[:, None]


def _make_tones(hertz: np.ndarray, lengths: np.ndarray, rate: int) -> np.ndarray:
    """[2, bins, L] float32: centred in L samples (an even number), the middle one at time 0."""
    size = 2 * math.ceil(lengths.max() / 2)
    out = np.zeros((2, len(hertz), size), dtype=np.float32)
    for row, (frequency, length) in enumerate(zip(hertz, lengths.astype(int), strict=True)):
        time = np.arange(-((length + 1) // 2), length // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        tone = window * np.exp(2j * np.pi * frequency / rate * time)
        tone /= np.abs(tone).sum()
        start = size // 2 - (length + 1) // 2
        out[0, row, start : start + length] = tone.real
        out[1, row, start : start + length] = tone.imag
    return out


class InputScaling(nn.Module):
    """Constant-Q magnitudes [B, 1, bins, frames] -> a power of them within [0, 1], with gain and bias."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power
        self.gain = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[B, 1, bins, frames] -> the same shape."""
        h = h.clamp(min=0).pow(self.power)
        h = h - h.amin((2, 3), keepdim=True)
        return self.gain * h / (h.amax((2, 3), keepdim=True) + FLOOR) + self.bias


class HalfNorm(nn.Module):
    """Batch normalisation of the first half of the channels, instance normalisation of the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels // 2)
        self.inst = nn.InstanceNorm2d(channels // 2, affine=True)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[B, C, ...] -> the same shape."""
        first, second = h.chunk(2, 1)
        return torch.cat([self.bn(first), self.inst(second)], 1)


class PaddedConv(nn.Module):
    """A convolution of 3 x 3, padded."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, outside, H / stride, W / stride], rounded up."""
        return self.conv(h)


class Block(nn.Module):
    """A residual block that normalises before each convolution."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        middle = max(inside, outside) // 2
        middle += middle % 2
        self.convs = nn.Sequential(
            HalfNorm(inside),
            nn.ReLU(),
            PaddedConv(inside, middle, stride),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            PaddedConv(middle, outside),
        )
        self.skip: nn.Module = nn.Identity()
        if inside != outside or stride != 1:
            self.skip = nn.Sequential(nn.BatchNorm2d(inside), nn.ReLU(), PaddedConv(inside, outside, stride))
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, outside, H / stride, W / stride], rounded up."""
        return self.gain * self.convs(h) + self.skip(h)


class MeanPool(nn.Module):
    """Generalised mean over all positions; its exponent 1 + softplus(p) is learnt and begins at 3."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1, 1, 1), math.log(math.expm1(2))))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """[B, C, ...] -> [B, C]."""
        exponent = 1 + F.softplus(self.p)
        return h.flatten(2).clamp(min=FLOOR).pow(exponent).mean(-1).pow(1 / exponent[..., 0])


class Clews(nn.Module):
    """The network: windows [B, T] at `shape.sample_rate` -> embeddings [B, dimension]."""

    def __init__(self, shape: ClewsShape) -> None:
        super().__init__()
        self.shape = shape
        rate, bins = shape.sample_rate, shape.octaves * shape.bins
        self.constant_q = ConstantQ(rate, int(shape.cqt_hop_s * rate), bins, shape.bins)
        first, second = shape.front
        self.frontend = nn.Sequential(
            InputScaling(shape.power),
            nn.Conv2d(1, first, (12, 3), stride=(1, 2), bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, (12, 3), stride=2, bias=False),
        )
        blocks, inside = [], second
        for count, outside, stride in zip(shape.blocks, shape.channels, shape.strides, strict=True):
            blocks += [Block(inside, outside, stride), *(Block(outside, outside) for _ in range(count - 1))]
            inside = outside
        self.backbone = nn.Sequential(*blocks)
        self.pool = MeanPool()
        self.proj = nn.Sequential(nn.BatchNorm1d(inside), nn.Linear(inside, shape.dimension, bias=False))

    def spectra(self, windows: torch.Tensor) -> torch.Tensor:
        """[B, T] -> [B, bins, frames]: constant-Q magnitudes, averaged in time."""
        return F.avg_pool1d(self.constant_q(windows), self.shape.pool)

    def embed(self, spectra: torch.Tensor) -> torch.Tensor:
        """[B, bins, frames] -> [B, dimension]."""
        return self.proj(self.pool(self.backbone(self.frontend(spectra[:, None]))))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """[B, T] -> [B, dimension]."""
        return self.embed(self.spectra(windows))

    @torch.no_grad()
    def embed_recording(self, wave: np.ndarray, hop_s: float = 0.0) -> np.ndarray:
        """A mono waveform [T] at `shape.sample_rate` -> its windows' embeddings [W, dimension] float32.

        `hop_s`: between windows; 0 = the shape's own.
        """
        rate = self.shape.sample_rate
        windows = cut_windows(wave, int(self.shape.window_s * rate), int((hop_s or self.shape.hop_s) * rate))
        device = next(self.parameters()).device
        rows = [
            self(torch.from_numpy(windows[start : start + BATCH]).to(device)).cpu().numpy()
            for start in range(0, len(windows), BATCH)
        ]
        return np.concatenate(rows)


def cut_windows(wave: np.ndarray, length: int, hop: int) -> np.ndarray:
    """[T] -> [W, length]: the recording is repeated until the last window, which holds its end, is full."""
    steps = max(math.ceil((len(wave) - length) / hop), 0)
    total = steps * hop + length
    full = np.tile(wave, math.ceil(total / len(wave)))[:total]
    return np.lib.stride_tricks.sliding_window_view(full, length)[::hop].astype(np.float32)  # a copy: torch wants it


# -- distance of two recordings --------------------------------------------------------------------------------------


def compute_distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances / dimension between windows: [..., W, d] x [..., V, d] -> [..., W, V]."""
    dot = one @ other.transpose(-1, -2)
    square = one.square().sum(-1)[..., :, None] - 2 * dot + other.square().sum(-1)[..., None, :]
    return square.clamp(min=0) / one.shape[-1]


def average_best_pairs(between: torch.Tensor, pairs: int) -> torch.Tensor:
    """[..., W, V] -> [...]: mean of the smallest entries, taken one by one, no row or column twice.

    As many as `pairs`, or the smaller of W and V where that is less. Ties go to the first.
    """
    count = max(1, min(pairs, *between.shape[-2:]))
    left, picked = between, []
    for _ in range(count):
        place = left.detach().flatten(-2).argmin(-1)
        row, column = place // between.shape[-1], place % between.shape[-1]
        picked.append(between.flatten(-2).gather(-1, place[..., None])[..., 0])
        rows = torch.arange(between.shape[-2], device=between.device) == row[..., None]
        columns = torch.arange(between.shape[-1], device=between.device) == column[..., None]
        left = left.masked_fill(rows[..., :, None] | columns[..., None, :], math.inf)
    return torch.stack(picked).mean(0)


# -- on disk ----------------------------------------------------------------------------------------------------------


def save_clews(network: Clews, path: Path) -> None:
    """Weights in fp16 with their shape, as safetensors."""
    from safetensors.torch import save as to_bytes

    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_bytes(weights, {"clews": json.dumps(asdict(network.shape))}))


def load_clews(path: Path, device: str = "cpu") -> Clews:
    """A checkpoint of ours (.safetensors, with its shape) or a published one (.ckpt, .pt). Raises UserError.

    A published file (`dvi-clews`, `shs-clews` of Zenodo 15045900) has no shape beside its weights: widths and depths
    are inferred from these, all else is as published.
    """
    if not path.is_file():
        raise UserError(f"{path}: no CLEWS checkpoint here; see [clews] checkpoint")
    try:
        shape, weights = _read_ours(path) if path.suffix == ".safetensors" else _read_published(path)
        network = Clews(shape)
        network.load_state_dict(weights)
    except READ_ERRORS as error:
        reason = (str(error).splitlines() or ["it is empty"])[0]
        raise UserError(f"{path}: this CLEWS checkpoint cannot be loaded ({reason})") from error
    return network.to(device).eval().requires_grad_(False)


def _read_ours(path: Path) -> tuple[ClewsShape, dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            fields = json.loads((file.metadata() or {})["clews"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return ClewsShape(**values), {name: v.float() if v.is_floating_point() else v for name, v in weights.items()}


def _read_published(path: Path) -> tuple[ClewsShape, dict[str, torch.Tensor]]:
    content = read_tensors(path)
    weights = content.get("model", content)
    weights = {name: value for name, value in weights.items() if not name.startswith("cqt.")}  # computed, the same
    return infer_published_shape(weights), weights


def infer_published_shape(weights: dict[str, torch.Tensor]) -> ClewsShape:
    """The published models' shape, with the widths and depths that the weights have."""
    outputs: list[int] = []
    while (name := f"backbone.{len(outputs)}.convs.5.conv.weight") in weights:
        outputs.append(weights[name].shape[0])
    widths = list(dict.fromkeys(outputs))
    return ClewsShape(
        front=(weights["frontend.1.weight"].shape[0], weights["frontend.4.weight"].shape[0]),
        blocks=tuple(outputs.count(channels) for channels in widths),
        channels=tuple(widths),
        dimension=weights["proj.1.weight"].shape[0],
    )
