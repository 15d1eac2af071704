"""EK-FAC: curvature of the training loss in Kronecker factors with corrected eigenvalues.

For a linear layer with inputs h (a 1 appended where it has a bias) and output gradients g, frames f of one sample:
A = E[sum_f h h'], B = E[sum_f g g'] (Martens & Grosse 2015); in the basis of their eigenvectors the curvature is taken
as diagonal, its entries the mean squared per-sample gradients there (George et al. 2018, arXiv 1806.03884). A sample is
a training track at one (t, eps). Only Linear layers of the transformer layers have factors; other parameters get no
step.

Labels "sampled": gradients of sqrt(2 / (C F)) sum(u x output), u standard normal of the output's shape, whose
covariance is the Gauss-Newton matrix of the training loss, so the Fisher of a Gaussian whose mean is the output
(Mlodozeniec et al. 2024, arXiv 2410.13850). "observed": gradients of the training loss as it is, the empirical Fisher,
which is small where the model has learnt a track.

A layer's gradient is [out, in] or, with its bias as last column, [out, in + 1]. fp32 products, fp64 sums.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from precompute.common.cache import Arrays
from precompute.common.progress import progress
from precompute.common.seeds import derive_seed
from precompute.common.sequences import spread_evenly
from precompute.config.methods import EkfacSettings
from precompute.model.diffusion import Items, Model, NoiseBank

Uses = list[list[torch.Tensor]]  # a list for each layer


@dataclass(frozen=True)
class LinearLayer:
    """Where a linear layer's parameters lie in the flat vector."""

    name: str
    module: nn.Linear
    weight: slice
    bias: slice | None

    def extract_matrix(self, flat: torch.Tensor) -> torch.Tensor:
        """[..., P] -> [..., out, in (+ 1)]"""
        weight = flat[..., self.weight].unflatten(-1, tuple(self.module.weight.shape))
        return weight if self.bias is None else torch.cat([weight, flat[..., self.bias].unsqueeze(-1)], -1)

    def insert_matrix(self, matrix: torch.Tensor, flat: torch.Tensor) -> None:
        """The inverse of `extract_matrix`, written into `flat`."""
        inputs = self.module.weight.shape[1]
        flat[..., self.weight] = matrix[..., :inputs].flatten(-2)
        if self.bias is not None:
            flat[..., self.bias] = matrix[..., inputs]


def find_linear_layers(model: Model, group: str) -> list[LinearLayer]:
    """Linear layers whose weight is in a layer group, in the network's order."""
    places, start = {}, 0
    for name, parameter in model.parameters(group).items():
        places[name] = slice(start, start + parameter.numel())
        start += parameter.numel()
    layers = []
    for name, module in model.network.model.named_modules():
        if isinstance(module, nn.Linear) and f"{name}.weight" in places:
            bias = places.get(f"{name}.bias") if module.bias is not None else None
            layers.append(LinearLayer(name, module, places[f"{name}.weight"], bias))
    return layers


class Ekfac:
    """The factors of every layer, and their use."""

    def __init__(self, layers: list[LinearLayer], arrays: Arrays, damping: float) -> None:
        """`arrays`: what `fit_ekfac` returns; `damping`: of the mean eigenvalue over all layers, added to each."""
        self.layers = layers
        self.factors = []
        total = sum(float(arrays[f"values-{i}"].sum(dtype=np.float64)) for i in range(len(layers)))
        size = sum(arrays[f"values-{i}"].size for i in range(len(layers)))
        self.damping = damping * total / max(1, size) or 1.0
        for i in range(len(layers)):
            outputs, inputs, values = (torch.from_numpy(arrays[f"{n}-{i}"]) for n in ("outputs", "inputs", "values"))
            self.factors.append((outputs, inputs, 1.0 / (values + self.damping)))

    def solve(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, P] -> [n, P]: (curvature + damping)^-1 times each row; 0 outside the layers."""
        solved = torch.zeros_like(rows)
        for layer, (outputs, inputs, inverse) in zip(self.layers, self.factors, strict=True):
            turned = outputs.T @ layer.extract_matrix(rows) @ inputs
            layer.insert_matrix(outputs @ (turned * inverse) @ inputs.T, solved)
        return solved


def fit_ekfac(
    model: Model, items: Items, group: str, settings: EkfacSettings, t_low: float = 0.0, label: str = ""
) -> Arrays:
    """Eigenvectors `outputs-i` [out, out] and `inputs-i` [in, in], corrected eigenvalues `values-i` [out, in], fp32.

    Two passes over training tracks x strata of t in [t_low, 1): factors, then eigenvalues in their basis. `label`:
    shows progress under this name.
    """
    layers = find_linear_layers(model, group)
    rows = spread_evenly(len(items), settings.tracks)
    bank = NoiseBank(1, settings.draws, draws_per_cell=1, seed=settings.seed, low=t_low)
    sampler = LabelSampler(settings.seed) if settings.labels == "sampled" else None
    sizes = [
        (layer.module.weight.shape[0], layer.module.weight.shape[1] + (layer.bias is not None)) for layer in layers
    ]
    a = [torch.zeros(i, i, dtype=torch.float64) for _, i in sizes]
    b = [torch.zeros(o, o, dtype=torch.float64) for o, _ in sizes]

    def add_factors(number: int, hidden: torch.Tensor, gradient: torch.Tensor) -> None:
        a[number] += (hidden.T @ hidden).double().cpu()
        b[number] += (gradient.T @ gradient).double().cpu()

    def add_squares(number: int, hidden: torch.Tensor, gradient: torch.Tensor) -> None:
        outputs, inputs = bases[number]
        turned = (gradient @ outputs.to(gradient)).T @ (hidden @ inputs.to(hidden))
        values[number] += turned.square().double().cpu()

    model.parameters(group)  # switches their gradients on
    for row in progress(f"{label}, factors", rows) if label else rows:
        _visit_samples(model, items[[row]], layers, bank, add_factors, sampler and sampler.focus(items[[row]]))
    bases = [(torch.linalg.eigh(bb)[1].float(), torch.linalg.eigh(aa)[1].float()) for aa, bb in zip(a, b, strict=True)]
    values = [torch.zeros(size, dtype=torch.float64) for size in sizes]
    for row in progress(f"{label}, eigenvalues", rows) if label else rows:
        _visit_samples(model, items[[row]], layers, bank, add_squares, sampler and sampler.focus(items[[row]]))
    arrays: Arrays = {}
    for number, (outputs, inputs) in enumerate(bases):
        arrays[f"outputs-{number}"], arrays[f"inputs-{number}"] = outputs.numpy(), inputs.numpy()
        arrays[f"values-{number}"] = (values[number] / (len(rows) * settings.draws)).float().numpy()
    return arrays


@dataclass(frozen=True)
class LabelSampler:
    """The u of sampled labels: by seed, track and draw, so that both passes see the same, in any order of tracks."""

    seed: int
    track: int = 0  # names a track by content

    def focus(self, item: Items) -> LabelSampler:
        """The sampler of one track."""
        digest = hashlib.sha256(item.latents[0].contiguous().numpy().tobytes()).digest()
        return LabelSampler(self.seed, int.from_bytes(digest[:4], "little"))

    def compute_scalar(self, predicted: torch.Tensor, draw: int) -> torch.Tensor:
        """sqrt(2 / (C F)) sum(u x output) of one draw, outputs [1, C, F]."""
        generator = torch.Generator().manual_seed(derive_seed(derive_seed(self.seed, self.track), draw))
        u = torch.randn(predicted.shape, generator=generator).to(predicted)
        return (predicted * u).sum() * math.sqrt(2 / predicted.numel())


def _visit_samples(
    model: Model,
    item: Items,
    layers: list[LinearLayer],
    bank: NoiseBank,
    visit: Callable[[int, torch.Tensor, torch.Tensor], None],
    sampler: LabelSampler | None,
) -> None:
    """Call `visit(layer, inputs [frames, in], output gradients [frames, out])` for each draw of one item.

    A layer that a forward pass uses more than once is seen with all its frames together.
    """
    with torch.no_grad():
        condition = model.condition(item)
    for number_of_draw, cell in enumerate(bank.cells()):
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        with record_layers(layers) as (inputs, outputs):
            predicted, target = model.predict(item.latents[0], condition, t, eps)
        loss = (predicted - target).square().mean()
        if sampler is not None:
            loss = sampler.compute_scalar(predicted, number_of_draw)
        used = [o for number in range(len(layers)) for o in outputs[number]]
        gradients = iter(torch.autograd.grad(loss, used, allow_unused=True))
        for number, layer in enumerate(layers):
            pairs = [(h, g) for h, g in zip(inputs[number], [next(gradients) for _ in outputs[number]], strict=True)]
            pairs = [(h, g) for h, g in pairs if g is not None]
            if not pairs:
                continue
            hidden = torch.cat([h.flatten(0, -2) for h, _ in pairs])
            if layer.bias is not None:
                hidden = torch.cat([hidden, torch.ones_like(hidden[:, :1])], 1)
            visit(number, hidden, torch.cat([g.flatten(0, -2) for _, g in pairs]))


@contextmanager
def record_layers(layers: list[LinearLayer]) -> Iterator[tuple[Uses, Uses]]:
    """Inputs (detached) and outputs of every use of the layers within the block: two lists by layer."""
    inputs: Uses = [[] for _ in layers]
    outputs: Uses = [[] for _ in layers]

    def make_hook(number: int) -> Callable[..., None]:
        def record(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            inputs[number].append(given[0].detach())
            outputs[number].append(output)

        return record

    handles = [layer.module.register_forward_hook(make_hook(number)) for number, layer in enumerate(layers)]
    try:
        yield inputs, outputs
    finally:
        for handle in handles:
            handle.remove()
