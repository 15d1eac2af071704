"""Measured rates, kept as JSON: of the embedded model by `plan --measure`, of GPUs by `make bench-gpu`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from precompute.common.results import RESULTS_FOLDER

KEPT = ("rates.json", "gpu.json")


@dataclass(frozen=True)
class Rate:
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


def kept(folder: Path = RESULTS_FOLDER) -> list[Rate]:
    """All that are kept; the last one of a kind counts."""
    found = []
    for name in KEPT:
        path = folder / name
        if not path.is_file():
            continue
        data = json.loads(path.read_text())
        for row in data["rows"]:
            if "gradient_s" in row:
                known = {key: row[key] for key in Rate.__dataclass_fields__ if key in row}
                found.append(Rate(**known, source=f"assets/benchmarks/{name}: {data['hardware']}"))
    return found


def find(rates: list[Rate], device: str, model: str, frames: int | None) -> Rate | None:
    """The measurement of a device and model, of the wanted length."""
    fitting = [r for r in rates if (r.device, r.model) == (device, model) and frames in (None, r.frames)]
    return fitting[-1] if fitting else None
