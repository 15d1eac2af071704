"""Rates of the embedded model on this machine: seconds of a gradient by one draw, and of a product with a direction.

Random latents of the model's shape: time does not depend on what is heard. Medians; a warm-up before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from precompute.common.results import RESULTS_FOLDER, describe_hardware, write_result
from precompute.gradients.directions import multiply_each
from precompute.gradients.flat_vectors import count_parameters
from precompute.gradients.item_gradients import GradientKind, compute_cell_gradient
from precompute.model.diffusion import Model, NoiseBank

DEMO = RESULTS_FOLDER.parents[1] / "assets/demo"
REPEATS = 7
ROWS = 64  # directions


def timed(run: Callable[[], object], repeats: int, device: torch.device | None = None) -> float:
    """Median seconds of a call, after one that does not count."""
    on_gpu = device is not None and device.type == "cuda"
    seconds = []
    for _ in range(repeats + 1):
        if on_gpu:
            torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def matmul_tflops(device: torch.device, dtype: torch.dtype, size: int, repeats: int = 5) -> float:
    """10^12 operations a second of a product of two random square matrices."""
    one = torch.randn(size, size, device=device).to(dtype)
    other = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / timed(lambda: one @ other, repeats, device) / 1e12


def peak_mb() -> int:
    """The most memory that this process has held, MB of 2^20; Linux alone.

    Not `ru_maxrss`: a process that was started by a larger one begins with that one's peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024


def embedded(device: str = "cpu") -> Model:
    """The model that ships."""
    return Model.load(DEMO / "model_config.json", DEMO / "model.safetensors", DEMO / "clap", device)


def measure(out: Path = RESULTS_FOLDER / "rates.json", repeats: int = REPEATS) -> None:
    """Measure and keep; takes about half a minute on two cores."""
    model = embedded()
    parameters = count_parameters(model.parameters("all"))
    bank = NoiseBank(2, 2, 1, 7)
    latents = torch.randn(1, model.latent_channels, model.frames, generator=torch.Generator().manual_seed(0))
    item = model.items(["a piece"], [model.sample_size / model.sample_rate], latents)
    with torch.no_grad():
        condition = model.condition(item)
    gradient_s = timed(lambda: compute_cell_gradient(model, item, condition, GradientKind(), bank, (0, 0)), repeats)
    rows, cells = torch.randn(16, parameters), torch.randn(ROWS, parameters)
    product_s = timed(lambda: multiply_each([rows], cells), repeats) / (len(rows) * len(cells))
    row = {
        "device": "cpu",
        "model": "embedded",
        "parameters": parameters,
        "frames": model.frames,
        "precision": "fp32",
        "gradient_s": round(gradient_s, 5),
        "product_s": float(f"{product_s:.3g}"),
        "matmul_tflops": round(matmul_tflops(model.device, torch.float32, 2048), 4),
    }
    what = "Rates of the embedded model: a gradient by one draw, a product with one direction; medians"
    write_result(out, what, "python -m precompute plan --measure", describe_hardware(), [row], repeats)
    print(f"measured: {row['gradient_s'] * 1e3:.1f} ms a gradient; kept in {out}", flush=True)
