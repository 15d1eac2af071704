"""The scripts of the benchmarks run, at sizes that say nothing about speed, and write result files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "assets/benchmarks"


def run_benchmark(script: str, out: Path, environment: dict[str, str], *options: str) -> list[dict]:
    command = [sys.executable, str(BENCHMARKS / script), "--out", str(out), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = json.loads(out.read_text())
    assert {"what", "command", "hardware", "commit", "repeats", "rows"} == set(data) and data["repeats"] == 1
    return data["rows"]


@pytest.mark.slow
def test_benchmark_of_the_pass(tmp_path: Path, environment: dict[str, str]) -> None:
    small = ["--clips", "2", "--tracks", "3", "--timed", "1", "--rounds", "1", "--cells", "2"]
    rows = {row["case"]: row for row in run_benchmark("bench_pass.py", tmp_path / "pass.json", environment, *small)}
    last = rows["Q = 2"]
    assert last["speedup_q2"] == pytest.approx(last["difference_ms"] / last["product_ms"], abs=0.01)
    assert all(
        rows[f"rank correlation, {way}"]["rho_fp64"] >= 0.5
        for way in ("gradient product fp32", "gradient product bf16", "finite difference fp32")
    )
    assert rows["a new clip, finite difference, computed"]["seconds"] > 0
    assert rows["peak memory, gradient product, Q = 2"]["peak_mb"] > 100


@pytest.mark.slow
def test_benchmark_of_the_gpu(tmp_path: Path, environment: dict[str, str]) -> None:
    rows = run_benchmark(
        "bench_gpu.py", tmp_path / "gpu.json", environment, "--small", "--frames", "32", "--repeats", "1"
    )
    assert rows[0]["model"] == "small" and rows[0]["gradient_s"] > 0 and len(rows[0]["profile"]) == 10


@pytest.mark.slow
def test_benchmark_of_peers_proves_our_own_rows(tmp_path: Path, environment: dict[str, str]) -> None:
    small = ["--only", "whence", "--train", "4", "--queries", "2", "--rounds", "1"]
    (row,) = run_benchmark("bench_peers.py", tmp_path / "peers.json", environment, *small)
    assert row["proved"] and row["rho_fp64"] >= 0.999 and row["ms_a_row"] > 0
