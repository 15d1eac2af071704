"""Sketches keep inner products; ridge scores in either form are the dense formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from precompute.gradients.sketches import Ridge, Sketch, score_by_ridge


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return torch.randn(6, 5000, generator=torch.Generator().manual_seed(0))


def test_a_sketch_is_the_sum_of_signed_coordinates_in_places(rows: torch.Tensor) -> None:
    sketch = Sketch(5000, 64, seed=1)
    wanted = np.zeros((6, 64))
    for coordinate in range(5000):
        run, place = divmod(coordinate, 64)
        wanted[:, (place + sketch.shifts[run]) % 64] += rows[:, coordinate].numpy() * int(sketch.signs[coordinate])
    assert np.allclose(sketch(rows).numpy(), wanted, atol=1e-4)


def test_a_wide_sketch_changes_no_inner_product(rows: torch.Tensor) -> None:
    found = Sketch(5000, 6000, seed=2)(rows).double()
    exact = rows.double() @ rows.double().T
    assert float((found @ found.T - exact).abs().max()) <= 1e-3 * float(exact.max())


def test_inner_products_are_right_on_average_and_their_spread_is_as_stated() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 2000, generator=generator)
    y = 0.5 * x + torch.randn(1, 2000, generator=generator)
    found = np.array([float(Sketch(2000, 128, seed)(x)[0] @ Sketch(2000, 128, seed)(y)[0]) for seed in range(400)])
    exact = float(x[0] @ y[0])
    spread = float(x.norm() * y.norm()) * np.sqrt(2 / 128)
    assert abs(found.mean() - exact) <= 4 * spread / np.sqrt(400) and 0.4 * spread <= found.std() <= 1.1 * spread


def test_weights_multiply_the_rows(rows: torch.Tensor) -> None:
    weight = torch.rand(5000, generator=torch.Generator().manual_seed(4))
    sketch = Sketch(5000, 64, seed=1)
    assert torch.allclose(sketch(rows, weight), sketch(rows * weight), atol=1e-4)


@pytest.mark.parametrize("form", ["auto", "tracks", "sketch"])
def test_ridge_against_the_dense_formula(form: str) -> None:
    rng = np.random.default_rng(5)
    a, x = rng.standard_normal((7, 12)), rng.standard_normal((3, 12))
    ridge = Ridge(a, 0.2, form)
    damping = 0.2 * np.square(a).sum(1).mean()
    inverse = np.linalg.inv(a.T @ a + damping * np.eye(12))
    assert np.allclose(ridge.solve(x), x @ inverse)
    assert np.allclose(ridge.compute_leverage(), np.diag(a @ inverse @ a.T))
    clips, tracks = rng.standard_normal((2, 2, 12)), rng.standard_normal((9, 3, 12))
    cells, cohort = score_by_ridge(ridge, clips, x, tracks)
    assert cells.shape == (2, 9, 3, 1, 2)
    assert np.allclose(cells[1, 4, 2, 0, 1], clips[1, 1] @ inverse @ tracks[4, 2])
    assert np.allclose(cohort, x @ inverse @ tracks.mean(1).T)


def test_the_smaller_system_is_solved() -> None:
    rng = np.random.default_rng(6)
    assert Ridge(rng.standard_normal((4, 9)), 0.1).gram.shape == (4, 4)
    assert Ridge(rng.standard_normal((9, 4)), 0.1).gram.shape == (4, 4)
