"""Gradient products cell by cell, on the device: for models of which one track's gradients do not fit into memory.

As many of the clips' directions are held as `[pass] memory_gb` allows beside a few gradients; for the next ones the
tracks' gradients are computed anew. P parameters; float32 products of runs, float64 totals, as in
`directions.multiply`; under bf16 directions and gradients are held in bf16.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from precompute.common.cache import Arrays
from precompute.errors import UserError
from precompute.gradients.directions import CHUNK, DiskRows
from precompute.gradients.item_gradients import compute_cell_gradient
from precompute.gradients.memory import divide_memory
from precompute.gradients.taps import StepTap
from precompute.model.diffusion import Items, Model, NoiseBank

DEVICE_CHUNK = 1 << 24  # parameters a partial sum on a GPU, where a launch costs more than a run of 2^18


class CellProducts(NamedTuple):
    """Arrays in the form of `StepTap.take`, and the seconds that they took."""

    arrays: list[Arrays]  # by track
    own_s: float  # products
    gradient_s: float  # gradients


def is_needed(model: Model, tap: StepTap, bank: NoiseBank, memory: float) -> bool:
    """True where a tap has to be served cell by cell: always on a GPU, whose rows would cross the bus.

    `memory`: in bytes.
    """
    too_large = 4 * len(bank.cells()) * tap.parameters > memory
    return too_large or model.device.type == "cuda"


def multiply_by_cell(model: Model, tracks: Items, tap: StepTap, bank: NoiseBank, memory: float) -> CellProducts:
    """The arrays of `tap.take` for each of the tracks. Raises UserError where `memory` holds none."""
    low = model.arithmetic.precision == "bf16"
    dtype = torch.bfloat16 if low else torch.float32
    mapped = tap.directions.map()
    whole = len(mapped.halves)
    rows = DiskRows([part for half in mapped if isinstance(half, DiskRows) for part in half.parts])
    cells = bank.cells()
    held, at_once = divide_memory(memory, tap.parameters, len(cells), low)
    if at_once < 1:
        least = tap.parameters * (8 if low else 12) / 1e9
        raise UserError(
            f"[pass] memory_gb = {memory / 1e9:g}: a gradient and a direction of {tap.parameters:,} parameters need"
            f" {least:.3g} GB; allow at least that"
        )
    products = torch.zeros(len(tracks), len(cells), len(rows), dtype=torch.float64)
    own = gradient = 0.0
    for start in range(0, len(rows), at_once):
        began = time.monotonic()
        block = rows.select_rows(start, start + at_once).read_columns(0, None).to(model.device, dtype)
        own += time.monotonic() - began
        for i in range(len(tracks)):
            with torch.no_grad():
                condition = model.condition(tracks[[i]])
            for first in range(0, len(cells), held):
                began = time.monotonic()
                gradients = _stack_gradients(model, tracks[[i]], condition, tap, bank, cells[first : first + held])
                gradient += time.monotonic() - began
                began = time.monotonic()
                products[i, first : first + held, start : start + at_once] = multiply_block(gradients, block)
                own += time.monotonic() - began
        del block
    arrays = [{"cells": part[:, :whole].numpy(), "sums": part[:, whole:].mean(0).numpy()} for part in products]
    return CellProducts(arrays, own, gradient)


def _stack_gradients(
    model: Model,
    track: Items,
    condition: dict[str, Any],
    tap: StepTap,
    bank: NoiseBank,
    cells: Sequence[tuple[int, int]],
) -> torch.Tensor:
    """One track's gradients in some cells, [D, P] on the device; in bf16 where the model's arithmetic is."""
    dtype = torch.bfloat16 if model.arithmetic.precision == "bf16" else torch.float32
    gradients = torch.empty(len(cells), tap.parameters, dtype=dtype, device=model.device)
    for place, cell in enumerate(cells):
        gradients[place] = compute_cell_gradient(model, track, condition, tap.kind, bank, cell)
    return gradients


def multiply_block(gradients: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
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
