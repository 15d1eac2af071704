"""One clip's direction by two workers, a half of its draws each: the same bits, nothing left over, resumable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.common.cache import Cache
from precompute.config.run import RunConfig
from precompute.gradients import directions
from precompute.gradients.context import Queries
from precompute.gradients.directions import Directions
from precompute.gradients.flat_vectors import count_parameters
from precompute.gradients.steps import UnlearningStep
from precompute.model.diffusion import Items, Model


def made(model: Model, items: Items, config: RunConfig, folder: Path, shown: int = 1, steps: int = 1) -> Directions:
    section = replace(config.unlearning, steps=steps)
    curvature = torch.ones(count_parameters(model.parameters(section.layers)))
    queries = Queries(shown=items[list(range(shown))], targets=items[:0], cohort=items[:0])
    step = UnlearningStep(section, tracks=16)
    return step.make_directions(model, queries, lambda: curvature, config, Cache(folder), "key")


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two workers whatever the model's size, and what they were asked for."""
    asked, run_jobs = [], directions.run_jobs

    def watched(what: str, jobs, job, workers: int, cache: Cache) -> None:
        asked.append(what)
        run_jobs(what, jobs, job, workers, cache)

    monkeypatch.setattr(directions, "count_workers", lambda *_: 2)
    monkeypatch.setattr(directions, "run_jobs", watched)
    return asked


def test_halves_make_the_whole(model: Model, items: Items, config: RunConfig, tmp_path: Path, two_workers) -> None:
    whole = made(model, items, config, tmp_path / "whole")
    whole.rule.compute_half = None
    whole.ensure()
    halves = made(model, items, config, tmp_path / "halves")
    halves.ensure()
    assert two_workers == ["directions", "directions, halves"]
    for name, array in whole.load_clip(0).items():
        assert np.array_equal(halves.load_clip(0)[name], array), name
    assert [path.name.split("-")[1] for path in (tmp_path / "halves").glob("*.npz")] == ["00000"]
    assert halves.read_seconds() > 0 and len(list((tmp_path / "halves" / ".seconds").iterdir())) == 1


def test_a_half_that_is_kept_is_not_computed_again(
    model: Model, items: Items, config: RunConfig, tmp_path: Path, two_workers
) -> None:
    halves = made(model, items, config, tmp_path)
    compute_half, log = halves.rule.compute_half, tmp_path / "log"

    def logged(clip: Items, windows: bool, half: int) -> torch.Tensor:
        with log.open("a") as handle:
            handle.write(f"{half}\n")
        return compute_half(clip, windows, half)

    halves.rule.compute_half = logged
    halves._cache_half(0, 1)  # as a worker that was killed thereafter has left it
    halves.ensure()
    assert log.read_text().splitlines() == ["1", "0"]


@pytest.mark.parametrize(("shown", "steps"), [(2, 1), (1, 2)])
def test_enough_clips_or_steps_that_build_on_each_other_are_not_cut(
    model: Model, items: Items, config: RunConfig, tmp_path: Path, two_workers, shown: int, steps: int
) -> None:
    made(model, items, config, tmp_path, shown, steps).ensure()
    assert two_workers == ["directions"] and len(list(tmp_path.glob("*.npz"))) == shown
