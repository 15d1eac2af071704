"""Measured rates, kept as JSON: of the embedded model by `plan --measure`, of GPUs by `make bench-gpu`.

Needs no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from precompute.common.results import RESULTS_FOLDER
from precompute.cost.work import Pace

FILES = ("rates.json", "gpu.json")


@dataclass(frozen=True)
class MeasuredRate:
    """One measurement, per draw of a track."""

    device: str  # cpu, h100, h200
    model: str  # embedded, real
    parameters: int
    frames: int
    precision: str
    gradient_s: float
    product_s: float  # one direction, one cell
    matmul_tflops: float  # of this machine, large products of the same precision
    source: str  # file and hardware

    @property
    def pace(self) -> Pace:
        """The seconds alone."""
        return Pace(self.gradient_s, self.product_s)


@dataclass(frozen=True)
class GpuCard:
    """A card by NVIDIA's data sheets, SXM, dense."""

    peak_tflops: float  # bf16
    memory_gb: float
    bandwidth_tb: float  # a second


CARDS = {"h100": GpuCard(989.0, 80.0, 3.35), "h200": GpuCard(989.0, 141.0, 4.8)}
PEAK_SHARE = 0.4  # of a card's peak that is assumed where nothing was measured
MEMORY_SHARE = 0.85  # of a card's memory, for gradients and directions


def read_rates(folder: Path = RESULTS_FOLDER) -> list[MeasuredRate]:
    """All that are kept; the last one of a kind counts."""
    rates = []
    for name in FILES:
        path = folder / name
        if not path.is_file():
            continue
        data = json.loads(path.read_text())
        for row in data["rows"]:
            if "gradient_s" in row:
                known = {key: row[key] for key in MeasuredRate.__dataclass_fields__ if key in row}
                rates.append(MeasuredRate(**known, source=f"assets/benchmarks/{name}: {data['hardware']}"))
    return rates


def find_rate(rates: list[MeasuredRate], device: str, model: str, frames: int | None) -> MeasuredRate | None:
    """The last measurement of a device and model, of so many frames where these are given; None where there is none."""
    matches = [r for r in rates if (r.device, r.model) == (device, model) and frames in (None, r.frames)]
    return matches[-1] if matches else None
