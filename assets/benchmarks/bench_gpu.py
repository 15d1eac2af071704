"""Measures the pass at the real size on a GPU: `make bench-gpu`, or `python assets/benchmarks/bench_gpu.py`.

A diffusion transformer of stable-audio-open-1.0's shape with random weights (1.06 billion parameters; time does not
depend on them), bf16 autocast: one gradient by one draw, products with as many directions as fit, the share of the
card's own measured matmul rate, and the operations that take the time. Projected from these: 115,000 tracks x 64
clips, beside the paper's 40 GPU-hours a clip. Kept in assets/benchmarks/gpu.json, where `precompute plan` finds it.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import nn  # noqa: E402

from precompute.common.results import RESULTS_FOLDER, describe_hardware, write_result  # noqa: E402
from precompute.cost.measurement import measure_matmul_tflops, time_call  # noqa: E402
from precompute.cost.plan import PAPER_HOURS  # noqa: E402
from precompute.cost.rates import CARDS, MEMORY_SHARE  # noqa: E402
from precompute.cost.work import (  # noqa: E402
    REAL,
    Pace,
    TransformerSize,
    count_directions,
    count_gradient_operations,
    count_pass,
)
from precompute.gradients.cell_products import multiply_block  # noqa: E402
from precompute.gradients.memory import divide_memory  # noqa: E402

WHAT = "The pass at 1.06 billion parameters, random weights, bf16: seconds a gradient and a product, share of matmul"
TRACKS, CLIPS, COHORT, CELLS = 115_000, 64, 48, 16
SMALL = TransformerSize(0, 64, 2, 8)
TOKENS, CONDITION = 130, 768  # of the prompt and the two times


def make_network(size: TransformerSize) -> nn.Module:
    """The transformer alone, with random weights."""
    from stable_audio_tools.models.dit import DiffusionTransformer

    settings: dict[str, Any] = {"io_channels": size.channels, "embed_dim": size.width, "depth": size.depth}
    settings |= {"num_heads": max(1, size.width // 64), "cond_token_dim": CONDITION, "global_cond_dim": 2 * CONDITION}
    settings |= {"project_cond_tokens": False, "transformer_type": "continuous_transformer"}
    if size.width < CONDITION:
        settings["project_cond_tokens"] = True
    return DiffusionTransformer(**settings).eval()


class GradientCase:
    """A gradient by one draw, at one length on one device."""

    def __init__(
        self, net: nn.Module, size: TransformerSize, frames: int, device: torch.device, compiled: bool
    ) -> None:
        self.net, self.device = net, device
        self.run = torch.compile(net) if compiled else net
        self.parameters = [p for name, p in net.named_parameters() if "transformer.layers." in name]
        draw = torch.Generator().manual_seed(0)
        shape = (1, size.channels, frames)
        self.noised, self.target = (torch.randn(shape, generator=draw).to(device) for _ in range(2))
        self.prompt = torch.randn(1, TOKENS, CONDITION, generator=draw).to(device)
        self.timing = torch.randn(1, 2 * CONDITION, generator=draw).to(device)
        self.t = torch.full((1,), 0.5, device=device)

    def compute_gradient(self) -> torch.Tensor:
        """[P] bfloat16, as `cell_products` holds it."""
        options = {"cross_attn_cond": self.prompt, "global_embed": self.timing, "use_checkpointing": False}
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self.run(self.noised, self.t, **options)
        loss = (predicted.float() - self.target).square().mean()
        parts = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        pairs = zip(parts, self.parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten().bfloat16() for g, p in pairs])


def measure_case(
    case: GradientCase, size: TransformerSize, frames: int, card: str, memory: float, repeats: int
) -> dict[str, Any]:
    """The row of one case."""
    count = sum(p.numel() for p in case.parameters)
    size = TransformerSize(count, size.width, size.depth, size.channels)
    gradient_s = time_call(case.compute_gradient, repeats, case.device)
    held, at_once = divide_memory(memory, count, CELLS, True)
    rows = count_directions(CLIPS, COHORT)
    at_once = min(at_once, rows)
    gradients = torch.zeros(held, count, dtype=torch.bfloat16, device=case.device)
    block = torch.zeros(at_once, count, dtype=torch.bfloat16, device=case.device)
    for part in (*gradients, *block):
        part.normal_()
    product_s = time_call(partial(multiply_block, gradients, block), repeats, case.device) / held / at_once
    del gradients, block
    rounds = -(-rows // at_once)
    track_s = count_pass(CELLS, rows, rounds).estimate_seconds(Pace(gradient_s, product_s))
    rate = count_gradient_operations(size, frames) / gradient_s / 1e12
    tflops = measure_matmul_tflops(case.device, torch.bfloat16, 8192 if case.device.type == "cuda" else 256)
    hours = track_s * TRACKS / 3600
    return {
        "device": card,
        "model": "real" if size.width == REAL.width else "small",
        "parameters": count,
        "frames": frames,
        "precision": "bf16",
        "gradient_s": float(f"{gradient_s:.4g}"),
        "product_s": float(f"{product_s:.4g}"),
        "matmul_tflops": round(tflops, 4),
        "share": round(rate / tflops, 3),
        "held": held,
        "directions_at_once": at_once,
        "track_s": float(f"{track_s:.4g}"),
        "projected_hours_115k": round(hours, 1),
        "paper_hours_115k": PAPER_HOURS * CLIPS,
    }


def profile_gradient(case: GradientCase) -> list[dict[str, Any]]:
    """The ten operations that take most of a gradient's time, as shares."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    on_gpu = case.device.type == "cuda"
    if on_gpu:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as found:
        case.compute_gradient()
        if on_gpu:
            torch.cuda.synchronize()
    name = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    table = sorted(((getattr(e, name), e.key) for e in found.key_averages()), reverse=True)
    whole = sum(time for time, _ in table) or 1.0
    return [{"operation": key[:80], "share": round(time / whole, 3)} for time, key in table[:10]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[1024, 2584])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well, in rows of its own")
    parser.add_argument("--out", type=Path, default=RESULTS_FOLDER / "gpu.json")
    parser.add_argument("--small", action="store_true", help="a small network, also on a CPU: does the script run?")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.small:
        raise SystemExit("bench-gpu: torch finds no GPU here; --small tries the script itself on a CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    card = next((known for known in CARDS if known in name.lower()), name)
    size = SMALL if options.small else REAL
    total = torch.cuda.get_device_properties(0).total_memory if device.type == "cuda" else 1e8
    net, began, rows = make_network(size).to(device), time.monotonic(), []
    for compiled in (False, True) if options.compile else (False,):
        for frames in options.frames:
            case = GradientCase(net, size, frames, device, compiled)
            weights = sum(p.numel() for p in net.parameters()) * 4
            row = measure_case(case, size, frames, card, MEMORY_SHARE * total - weights, options.repeats)
            row |= {"compiled": compiled, "profile": profile_gradient(case)}
            if device.type == "cuda":
                row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
            rows.append(row)
            print(f"{card}, {frames} frames, compiled {compiled}: {row['gradient_s'] * 1e3:.1f} ms a gradient,")
            hours = row["projected_hours_115k"]
            print(f"  {row['share']:.0%} of matmul; projected {hours} hours for 115,000 tracks x {CLIPS} clips")
    write_result(options.out, WHAT, "make bench-gpu", f"{name}; {describe_hardware()}", rows, options.repeats)
    print(f"bench-gpu: {time.monotonic() - began:.0f} s; kept in {options.out}")


if __name__ == "__main__":
    main()
