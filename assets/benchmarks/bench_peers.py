"""Measures other libraries on the same model, rows and noise: `make bench-peers`.

A row is one track under one draw; a score is the raw product of two rows' gradients with respect to the weights and
biases of the transformer layers' Linear modules, which all of them can take. Each library has an environment of its
own in data/work/peers (torch shared with this one), runs as a process of its own, and is given the rows as .npz. It is
proved by its rank correlation to exact products in fp64; where one cannot be installed, or fails, its row says so.
Rounds by turns, medians; seconds without the start of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from precompute.common.results import RESULTS_FOLDER, describe_hardware, write_result  # noqa: E402
from precompute.common.torch_setup import setup_torch  # noqa: E402
from precompute.corpus.packed import read_latents  # noqa: E402
from precompute.cost.measurement import DEMO, load_embedded_model  # noqa: E402
from precompute.gradients.finite_difference import correlate_ranks  # noqa: E402
from precompute.model.diffusion import Model, NoiseBank, v_objective  # noqa: E402

WHAT = "Raw products of per-row gradients by other libraries: ms a row, rank correlation to fp64, peak memory"
PEERS = {
    "whence": [],
    "dattri-llm": ["dattri-llm==0.1.0", "accelerate", "numpy<2"],
    "dattri": ["dattri==0.3.0", "numpy<2"],
    "kronfluence": ["kronfluence==1.0.1", "numpy<2"],
}
FOLDER = ROOT / "data/work/peers"
LEAST = 0.999


def prepare_environment(name: str, packages: list[str]) -> tuple[Path | None, str]:
    """The interpreter of a library's environment; or None, and why it could not be installed."""
    if not packages:
        return Path(sys.executable), ""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if (folder / ".installed").exists():
        return python, ""
    done = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
    if done.returncode == 0:
        site = next(folder.glob("lib/python*/site-packages"))
        (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch and what it brings
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        return None, next((line for line in reversed(lines) if "ERROR" in line), lines[-1])
    (folder / ".installed").touch()
    return python, ""


def make_rows(model: Model, train: int, queries: int) -> dict[str, np.ndarray]:
    """Rows of decoys' latents as they ship, each under a draw of its own."""
    latents = np.stack(list(read_latents(DEMO / "decoy-latents.npz").values())[: train + queries])
    longest = model.sample_size / model.sample_rate
    items = model.items(["a piece of music"] * len(latents), [longest] * len(latents), torch.from_numpy(latents))
    bank = NoiseBank(1, len(items), 1, 303)
    draws = [bank.cell(0, row, (model.latent_channels, model.frames)) for row in range(len(items))]
    order = np.random.default_rng(0).permutation(len(items)).tolist()  # strata of t, spread
    t, eps = torch.cat([draws[row][0] for row in order]), torch.cat([draws[row][1] for row in order])
    noised, target = v_objective(items.latents, t, eps)
    with torch.no_grad():
        condition = {k: v for k, v in model.condition(items).items() if v is not None}
    arrays = {"noised": noised, "target": target, "t": t, **{f"c-{k}": v.float() for k, v in condition.items()}}
    return {name: value.numpy() for name, value in arrays.items()} | {"train": np.array(train)}


def compute_exact(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Products [train, queries] in fp64 throughout."""
    sys.path.insert(0, str(Path(__file__).parent))
    from peer import PeerNetwork, load_rows

    network = PeerNetwork(load_embedded_model()).double()
    train, queries = load_rows(rows, torch.float64)
    parameters = network.list_linear_parameters()

    def gradient(row: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = torch.autograd.grad(network.loss(row), list(parameters.values()))
        return torch.cat([part.flatten() for part in parts])

    wanted = torch.stack([gradient(row) for row in queries])
    return torch.stack([wanted @ gradient(row) for row in train]).numpy()


def run_peer(name: str, python: Path, rows: Path, out: Path) -> dict[str, Any]:
    """Run one round of a library; its seconds and peak memory as it prints them, or an error."""
    command = [str(python), str(Path(__file__).with_name("peer.py")), name, str(rows), str(out)]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=out.parent)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=32, help="rows (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=16, help="rows (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--out", type=Path, default=RESULTS_FOLDER / "peers.json")
    options = parser.parse_args()
    setup_torch()
    began, found = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        path, rows = Path(folder) / "rows.npz", make_rows(load_embedded_model(), options.train, options.queries)
        np.savez(path, **rows)
        wanted = compute_exact(rows)
        ready = {name: prepare_environment(name, PEERS[name]) for name in options.only}
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in options.only}
        for _ in range(options.rounds):
            for name, (python, _) in ready.items():
                if python is not None and not any("error" in round_ for round_ in rounds[name]):
                    rounds[name].append(run_peer(name, python, path, Path(folder) / f"{name}.npz"))
        for name, (python, why) in ready.items():
            errors = [round_["error"] for round_ in rounds[name] if "error" in round_]
            if python is None or errors:
                reason = f"could not be installed: {why}" if python is None else f"failed: {errors[0]}"
                found.append({"case": name, "packages": PEERS[name], "result": reason})
                continue
            scores = np.load(Path(folder) / f"{name}.npz")["scores"]
            rho = min(correlate_ranks(scores[:, q], wanted[:, q]) for q in range(options.queries))
            seconds = statistics.median(round_["seconds"] for round_ in rounds[name])
            row = {"case": name, "packages": PEERS[name], "rho_fp64": round(rho, 6), "proved": bool(rho >= LEAST)}
            row |= {"rows": options.train, "queries": options.queries}
            row["ms_a_row"] = round(seconds / options.train * 1e3, 1)
            found.append(row | {"peak_mb": max(round_["peak_mb"] for round_ in rounds[name])})
    write_result(options.out, WHAT, "make bench-peers", describe_hardware(), found, options.rounds)
    for row in found:
        print(row)
    print(f"bench-peers: {time.monotonic() - began:.0f} s; kept in {options.out}")


if __name__ == "__main__":
    main()
