"""Rates of this machine: seconds of a gradient by one draw, of a product with a direction, and of large products.

Random latents of the model's shape: time does not depend on what is heard. Medians; a warm-up before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from precompute.common import seeds
from precompute.common.results import RESULTS_FOLDER, describe_hardware, write_result
from precompute.gradients.directions import multiply_each
from precompute.gradients.flat_vectors import count_parameters
from precompute.gradients.item_gradients import GradientKind, compute_cell_gradient
from precompute.model.diffusion import Items, Model, NoiseBank

DEMO = RESULTS_FOLDER.parents[1] / "assets/demo"
REPEATS = 7
DIRECTIONS = 64


def time_call(run: Callable[[], object], repeats: int, device: torch.device | None = None) -> float:
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


def measure_matmul_tflops(device: torch.device, dtype: torch.dtype, size: int, repeats: int = 5) -> float:
    """10^12 operations per second of a product of two random square matrices."""
    one = torch.randn(size, size, device=device).to(dtype)
    other = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / time_call(lambda: one @ other, repeats, device) / 1e12


def read_peak_mb() -> int:
    """The most memory that this process has held, MB of 2^20; Linux alone.

    Not `ru_maxrss`: a process that was started by a larger one begins with that one's peak.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024


def load_embedded_model(device: str = "cpu") -> Model:
    """The model that ships."""
    return Model.load(DEMO / "model_config.json", DEMO / "model.safetensors", DEMO / "clap", device)


def measure_gradient(model: Model, item: Items, bank: NoiseBank, layers: str, repeats: int) -> float:
    """Seconds of one item's gradient of the loss by one draw, with the threads that torch has now."""
    with torch.no_grad():
        condition = model.condition(item)
    kind = GradientKind("loss", layers)
    cell_s = time_call(lambda: compute_cell_gradient(model, item, condition, kind, bank, (0, 0)), repeats, model.device)
    return cell_s / bank.draws_per_cell


def measure_embedded_model(out: Path = RESULTS_FOLDER / "rates.json", repeats: int = REPEATS) -> None:
    """Measure the embedded model and keep its rates; takes about half a minute on two cores."""
    model = load_embedded_model()
    parameters = count_parameters(model.parameters("all"))
    latents = torch.randn(
        1, model.latent_channels, model.frames, generator=torch.Generator().manual_seed(seeds.MEASUREMENT)
    )
    item = model.items(["a piece"], [model.sample_size / model.sample_rate], latents)
    gradient_s = measure_gradient(model, item, NoiseBank(2, 2, 1, seeds.MEASUREMENT_BANK), "all", repeats)
    gradients, directions = torch.randn(16, parameters), torch.randn(DIRECTIONS, parameters)
    product_s = time_call(lambda: multiply_each([gradients], directions), repeats) / (len(gradients) * len(directions))
    row = {
        "device": "cpu",
        "model": "embedded",
        "parameters": parameters,
        "frames": model.frames,
        "precision": "fp32",
        "gradient_s": round(gradient_s, 5),
        "product_s": float(f"{product_s:.3g}"),
        "matmul_tflops": round(measure_matmul_tflops(model.device, torch.float32, 2048), 4),
    }
    what = "Rates of the embedded model: a gradient by one draw, a product with one direction; medians"
    write_result(out, what, "python -m precompute plan --measure", describe_hardware(), [row], repeats)
    print(f"measured: {gradient_s * 1e3:.1f} ms a gradient; kept in {out}", flush=True)
