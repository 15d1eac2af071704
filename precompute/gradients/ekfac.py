"""EK-FAC: curvature of the training loss in Kronecker factors with corrected eigenvalues.

For a linear layer with inputs h (a 1 appended where it has a bias) and output gradients g, frames f of one sample:
A = E[sum_f h h'], B = E[sum_f g g'] (Martens & Grosse 2015); in the basis of their eigenvectors the curvature is taken
as diagonal, its entries the mean squared per-sample gradients there (George et al. 2018, arXiv 1806.03884). The samples
are those of the diagonal Fisher: a training track at one (t, eps), gradients of the training loss as it is. Only Linear
layers of the transformer layers have factors; other parameters get no step.

A layer's gradient is [out, in] or, with its bias as last column, [out, in + 1]. fp32 products, fp64 sums.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from precompute.common.sequences import spread_evenly
from precompute.gradients.fisher import count
from precompute.model.diffusion import Items, Model, NoiseBank

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """Where a linear layer's parameters lie in the flat vector."""

    name: str
    module: nn.Linear
    weight: slice
    bias: slice | None

    def matrix(self, flat: torch.Tensor) -> torch.Tensor:
        """[..., P] -> [..., out, in (+ 1)]"""
        found = flat[..., self.weight].unflatten(-1, tuple(self.module.weight.shape))
        return found if self.bias is None else torch.cat([found, flat[..., self.bias].unsqueeze(-1)], -1)

    def place(self, matrix: torch.Tensor, flat: torch.Tensor) -> None:
        """The inverse of `matrix`, written into `flat`."""
        inputs = self.module.weight.shape[1]
        flat[..., self.weight] = matrix[..., :inputs].flatten(-2)
        if self.bias is not None:
            flat[..., self.bias] = matrix[..., inputs]


def linear_layers(model: Model, group: str) -> list[Layer]:
    """Linear layers whose weight is in a layer group, in the network's order."""
    places, start = {}, 0
    for name, parameter in model.parameters(group).items():
        places[name] = slice(start, start + parameter.numel())
        start += parameter.numel()
    found = []
    for name, module in model.network.model.named_modules():
        if isinstance(module, nn.Linear) and f"{name}.weight" in places:
            bias = places.get(f"{name}.bias") if module.bias is not None else None
            found.append(Layer(name, module, places[f"{name}.weight"], bias))
    return found


class Ekfac:
    """The factors of every layer, and their use."""

    def __init__(self, layers: list[Layer], arrays: Arrays, damping: float) -> None:
        """`arrays`: what `fit` returns; `damping`: of the mean eigenvalue over all layers, added to each."""
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
        found = torch.zeros_like(rows)
        for layer, (outputs, inputs, inverse) in zip(self.layers, self.factors, strict=True):
            turned = outputs.T @ layer.matrix(rows) @ inputs
            layer.place(outputs @ (turned * inverse) @ inputs.T, found)
        return found


def fit(
    model: Model,
    items: Items,
    group: str,
    draws: int,
    tracks: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Arrays:
    """Eigenvectors `outputs-i` [out, out] and `inputs-i` [in, in], corrected eigenvalues `values-i` [out, in], fp32.

    Two passes over `tracks` (0 = all) training tracks x `draws` strata of t: factors, then eigenvalues in their basis.
    """
    layers = linear_layers(model, group)
    rows = spread_evenly(len(items), tracks)
    bank = NoiseBank(replicates=1, strata=draws, draws_per_cell=1, seed=seed)
    sizes = [
        (layer.module.weight.shape[0], layer.module.weight.shape[1] + (layer.bias is not None)) for layer in layers
    ]
    a = [torch.zeros(i, i, dtype=torch.float64) for _, i in sizes]
    b = [torch.zeros(o, o, dtype=torch.float64) for o, _ in sizes]

    def factors(number: int, hidden: torch.Tensor, gradient: torch.Tensor) -> None:
        a[number] += (hidden.T @ hidden).double().cpu()
        b[number] += (gradient.T @ gradient).double().cpu()

    def second(number: int, hidden: torch.Tensor, gradient: torch.Tensor) -> None:
        outputs, inputs = bases[number]
        turned = (gradient @ outputs.to(gradient)).T @ (hidden @ inputs.to(hidden))
        values[number] += turned.square().double().cpu()

    count(model.parameters(group))  # switches their gradients on
    for done, row in enumerate(rows):
        _samples(model, items[[row]], layers, bank, factors)
        progress(done + 1, 2 * len(rows))
    bases = [(torch.linalg.eigh(bb)[1].float(), torch.linalg.eigh(aa)[1].float()) for aa, bb in zip(a, b, strict=True)]
    values = [torch.zeros(size, dtype=torch.float64) for size in sizes]
    for done, row in enumerate(rows):
        _samples(model, items[[row]], layers, bank, second)
        progress(len(rows) + done + 1, 2 * len(rows))
    found: Arrays = {}
    for number, (outputs, inputs) in enumerate(bases):
        found[f"outputs-{number}"], found[f"inputs-{number}"] = outputs.numpy(), inputs.numpy()
        found[f"values-{number}"] = (values[number] / (len(rows) * draws)).float().numpy()
    return found


def _samples(
    model: Model,
    item: Items,
    layers: list[Layer],
    bank: NoiseBank,
    see: Callable[[int, torch.Tensor, torch.Tensor], None],
) -> None:
    """`see(layer, inputs [frames, in], output gradients [frames, out])` for each draw of one item.

    A layer that a forward pass uses more than once is seen with all its frames together.
    """
    with torch.no_grad():
        condition = model.condition(item)
    for cell in bank.cells():
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        with recorded(layers) as (inputs, outputs):
            loss = model.loss(item.latents[0], condition, t, eps)
        wanted = [o for number in range(len(layers)) for o in outputs[number]]
        gradients = iter(torch.autograd.grad(loss, wanted, allow_unused=True))
        for number, layer in enumerate(layers):
            pairs = [(h, g) for h, g in zip(inputs[number], [next(gradients) for _ in outputs[number]], strict=True)]
            pairs = [(h, g) for h, g in pairs if g is not None]
            if not pairs:
                continue
            hidden = torch.cat([h.flatten(0, -2) for h, _ in pairs])
            if layer.bias is not None:
                hidden = torch.cat([hidden, torch.ones_like(hidden[:, :1])], 1)
            see(number, hidden, torch.cat([g.flatten(0, -2) for _, g in pairs]))


@contextmanager
def recorded(layers: list[Layer]):
    """Inputs (detached) and outputs of every use of the layers within the block: two lists by layer."""
    inputs: list[list[torch.Tensor]] = [[] for _ in layers]
    outputs: list[list[torch.Tensor]] = [[] for _ in layers]

    def hook(number: int) -> Callable[..., None]:
        def keep(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            inputs[number].append(given[0].detach())
            outputs[number].append(output)

        return keep

    handles = [layer.module.register_forward_hook(hook(number)) for number, layer in enumerate(layers)]
    try:
        yield inputs, outputs
    finally:
        for handle in handles:
            handle.remove()
