"""Estimates of runs and judgements: counted from settings, by one formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from precompute.config.run import RunConfig
from precompute.cost.evaluation import EvaluationPace
from precompute.cost.run import RunSize, count_run, estimate_seconds, read_parameter_counts
from precompute.cost.work import EMBEDDED, Pace, Work, count_generation, count_gradient_operations, count_scoring


@pytest.fixture
def size() -> RunSize:
    return RunSize(
        EMBEDDED, EMBEDDED.parameters, frames=375, window_frames=100, shown=4, targets=3, tracks=50, trained=40
    )


def test_work_becomes_seconds() -> None:
    work = Work(gradients=10, alone=1, forwards=6, products=100) + Work(gradients=2)
    assert work.estimate_seconds(Pace(2.0, 0.1), workers=2) == pytest.approx((12 * 2 + 6 * 2 / 3 + 100 * 0.1) / 2 + 2)


def test_a_run_is_counted_by_the_parts_of_a_judgement(config: RunConfig, size: RunSize) -> None:
    whole = replace(config, moments=replace(config.moments, tracks=0))
    one_window = replace(size, window_frames=375)
    work = count_run(whole, one_window)
    fisher = min(config.fisher.tracks or 40, 40)
    parts = count_scoring(config, 7, 50, fisher) + count_generation(config, 4 + config.clips.cohort)
    assert (work.gradients, work.alone, work.forwards) == (parts.gradients, parts.alone, parts.forwards)
    cells = config.bank.replicates * config.bank.strata
    assert work.products == cells * 50 * (2 * 7 + config.clips.cohort + 4)


def test_seconds_follow_from_operations_and_the_matmul_rate(config: RunConfig, size: RunSize) -> None:
    slow, fast = (estimate_seconds(config, size, tflops) for tflops in (0.1, 0.2))
    assert slow == pytest.approx(2 * fast)
    gradients = count_run(config, size).gradients
    assert slow > gradients * count_gradient_operations(EMBEDDED, 375) / 0.1e12


def test_a_judgement_without_gradient_methods_takes_no_gradients(config: RunConfig) -> None:
    pace = EvaluationPace(Pace(0.5), 2, with_gradients=False)
    assert pace.estimate_scoring(config, 3, 100) == 0.0 and pace.estimate_generation(config, 3) > 0


def test_parameters_are_counted_from_the_header(tmp_path: Path) -> None:
    save_file({"a.weight": torch.zeros(3, 4), "a.bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    assert read_parameter_counts(tmp_path / "model.safetensors") == {"a.weight": 12, "a.bias": 3}
    assert read_parameter_counts(tmp_path / "model.ckpt") == {}
