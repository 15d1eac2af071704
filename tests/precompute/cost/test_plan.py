"""`precompute plan`: arithmetic from measured rates, or projected and said so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from precompute.cli.main import main
from precompute.common.results import RESULTS_FOLDER
from precompute.cost.measurement import read_peak_mb
from precompute.cost.plan import PassPlan, format_plan
from precompute.cost.rates import read_rates
from precompute.cost.work import REAL, count_directions, count_gradient_operations
from precompute.errors import UserError
from precompute.gradients.memory import divide_memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    row = {"device": "cpu", "model": "embedded", "parameters": 4_000_000, "frames": 250, "precision": "fp32"}
    row |= {"gradient_s": 0.1, "product_s": 1e-4, "matmul_tflops": 0.1}
    (tmp_path / "rates.json").write_text(json.dumps({"hardware": "two cores", "rows": [row]}))
    return tmp_path


def test_time_follows_from_measured_rates(folder: Path) -> None:
    text = format_plan(PassPlan(tracks=3600, clips=10, cohort=5, cells=4, workers=2, cost_per_hour=3.0), folder)
    seconds = 4 * (0.1 + (2 * 10 + 5) * 1e-4)  # a track
    assert f"{seconds:.3g} s a track" in text and "2 x cpu (measured rates)" in text and "projected" not in text
    assert f"cost: {seconds * 3.0:.2f}" in text and "two cores" in text
    gigabytes = [4 * 25 * 4e6, 8 * 3600 * (4 * 2 * 10 + 5)]
    assert f"directions {gigabytes[0] / 1e9:.3g}, results {gigabytes[1] / 1e9:.3g}" in text


@pytest.mark.parametrize("gpu", ["h100", "h200"])
def test_what_is_not_measured_is_projected_and_says_so(folder: Path, gpu: str) -> None:
    text = format_plan(PassPlan(gpu=gpu), folder)
    assert f"on 1 x {gpu} (projected)" in text and f"not measured on {gpu}" in text
    assert "40% of the card's peak of 989 TFLOP/s" in text
    again = re.search(r"(\d+) of 176 directions at once \(bf16\): gradients are computed (\d) times", text)
    assert again and -(-176 // int(again[1])) == int(again[2])
    rate = {"device": gpu, "model": "real", "parameters": REAL.parameters, "frames": 1024, "precision": "bf16"}
    rate |= {"gradient_s": 0.02, "product_s": 1e-3, "matmul_tflops": 700.0}
    (folder / "gpu.json").write_text(json.dumps({"hardware": gpu.upper(), "rows": [rate]}))
    measured = format_plan(PassPlan(gpu=gpu), folder)
    assert "projected" not in measured and f"{16 * (int(again[2]) * 0.02 + 176e-3):.3g} s a track" in measured
    assert "projected" in format_plan(PassPlan(gpu=gpu, frames=2584), folder)


def test_pieces_stay_within_the_memory() -> None:
    for memory in (9e9, 60e9, 120e9):
        held, at_once = divide_memory(memory, REAL.parameters, 16, True)
        assert held >= 1 and at_once >= 1
        assert 2 * REAL.parameters * (held + at_once) + 4 * REAL.parameters <= memory
    assert divide_memory(4e9, REAL.parameters, 16, True)[1] == 0
    assert count_directions(64, 48) == 176 and count_gradient_operations(REAL, 2048) > 2 * count_gradient_operations(
        REAL, 1024
    )


def test_mistakes_are_told(folder: Path, capsys) -> None:
    assert main(["plan", "--gpu", "tpu"]) == 1 and "--gpu tpu: choose one of cpu, h100, h200" in capsys.readouterr().err
    assert main(["plan", "--tracks", "0"]) == 1 and "--tracks 0: must be" in capsys.readouterr().err
    with pytest.raises(UserError, match="--memory-gb 5: too small"):
        format_plan(PassPlan(gpu="h200", memory_gb=5.0), folder)
    with pytest.raises(UserError, match=r"nothing is measured for this model on a CPU: run .*plan --measure"):
        format_plan(PassPlan(), folder / "none")


def test_the_peak_is_the_process_s_own_not_its_parent_s() -> None:
    held = np.ones(400_000_000 // 8)  # this process's own peak is then 400 MB more than that of a new one
    code = "from precompute.cost.measurement import read_peak_mb; print(read_peak_mb())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=RESULTS_FOLDER.parents[1], capture_output=True, text=True, check=True
    )
    assert 50 < int(done.stdout) < read_peak_mb() - 200 and held[0] == 1


def test_the_kept_rates_can_be_read() -> None:
    assert [r for r in read_rates(RESULTS_FOLDER) if (r.device, r.model) == ("cpu", "embedded")]
