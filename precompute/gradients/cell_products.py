"""Way (c) for models of which one track's gradients do not fit into memory together: cell by cell, on the device.

Of the clips' directions as many are held as `[pass] memory_gb` allows beside a few gradients; for the next ones the
tracks' gradients are computed anew. P parameters; fp32 products of runs, fp64 totals, as in `directions.dot`; under
bf16 directions and gradients are held in bf16.
"""

from __future__ import annotations

import time

import torch

from precompute.common.cache import Arrays
from precompute.cost.sizes import pieces
from precompute.errors import UserError
from precompute.gradients.directions import CHUNK, Mapped, StepTap, Tap
from precompute.gradients.per_item import TINY, of_cell
from precompute.model.diffusion import Items, Model, NoiseBank

DEVICE_CHUNK = 1 << 24  # parameters a partial sum on a GPU, where a launch costs more than a run of 2^18


def needed(model: Model, tap: Tap, bank: NoiseBank, memory: float) -> bool:
    """Whether a tap has to be served so; `memory` in bytes. Always on a GPU, whose rows would cross the bus."""
    too_large = 4 * len(bank.cells()) * tap.parameters > memory
    return isinstance(tap, StepTap) and (too_large or model.device.type == "cuda")


def by_cell(
    model: Model, tracks: Items, tap: StepTap, bank: NoiseBank, memory: float
) -> tuple[list[Arrays], float, float]:
    """As `tap.take` for each of the tracks; then seconds of products, and of gradients."""
    low = model.arithmetic.precision == "bf16"
    dtype = torch.bfloat16 if low else torch.float32
    detailed, summed = tap.directions.map()
    rows = Mapped(detailed.parts + summed.parts)
    cells = bank.cells()
    held, at_once = pieces(memory, tap.parameters, len(cells), low)
    if at_once < 1:
        least = tap.parameters * (8 if low else 12) / 1e9
        raise UserError(
            f"[pass] memory_gb = {memory / 1e9:g}: a gradient and a direction of {tap.parameters:,} parameters need"
            f" {least:.3g} GB; allow at least that"
        )
    found = torch.zeros(len(tracks), len(cells), len(rows), dtype=torch.float64)
    own = gradient = 0.0
    for start in range(0, len(rows), at_once):
        began = time.monotonic()
        block = rows[start : start + at_once][:, :].to(model.device, dtype)
        own += time.monotonic() - began
        for i in range(len(tracks)):
            with torch.no_grad():
                condition = model.condition(tracks[[i]])
            for first in range(0, len(cells), held):
                began = time.monotonic()
                several = cells[first : first + held]
                gradients = torch.empty(len(several), tap.parameters, dtype=dtype, device=model.device)
                for place, cell in enumerate(several):
                    row = of_cell(model, tracks[[i]], condition, tap.kind, bank, cell)
                    gradients[place] = row / row.norm().clamp(min=TINY) if tap.kind.normalised else row
                gradient += time.monotonic() - began
                began = time.monotonic()
                found[i, first : first + held, start : start + at_once] = product(gradients, block)
                own += time.monotonic() - began
        del block
    whole = len(detailed)
    arrays = [{"cells": part[:, :whole].numpy(), "sums": part[:, whole:].mean(0).numpy()} for part in found]
    return arrays, own, gradient


def product(gradients: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
    """[D, P] x [Q, P] of one dtype -> [D, Q] float64 on the CPU."""
    total = torch.zeros(len(gradients), len(block), dtype=torch.float64, device=gradients.device)
    on_gpu = gradients.device.type == "cuda"
    chunk = DEVICE_CHUNK if on_gpu else CHUNK
    for start in range(0, gradients.shape[1], chunk):
        left, right = gradients[:, start : start + chunk], block[:, start : start + chunk].T
        if on_gpu and left.dtype == torch.bfloat16:
            total += torch.mm(left, right, out_dtype=torch.float32).double()
        else:
            total += (left.float() @ right.float()).double()
    return total.cpu()
