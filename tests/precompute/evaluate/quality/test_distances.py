"""Distances between sets against closed forms and naive twins; intervals that can be repeated."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.errors import UserError
from precompute.evaluate.quality.distances import (
    bootstrap,
    compute_frechet_distance,
    compute_kernel_distance,
    compute_weighted_kernel_distance,
    estimate_mean,
    find_nearest_distances,
    fit_principal_basis,
    rescale_to,
    scale_to_unit_length,
    standardise,
    take_interval,
)


def normal(count: int, size: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((count, size))


def exact(count: int, means: list[float], deviations: list[float], seed: int = 0) -> np.ndarray:
    """A set whose own mean and (diagonal) covariance are exactly these."""
    rows = normal(count, len(means), seed)
    rows -= rows.mean(0)
    rows = np.linalg.solve(np.linalg.cholesky(np.cov(rows.T)), rows.T).T
    return rows * deviations + means


def test_frechet_of_gaussians_that_are_known() -> None:
    one, other = exact(50, [0, 0, 1], [1, 2, 3]), exact(50, [3, 0, 1], [2, 2, 1], seed=1)
    assert compute_frechet_distance(one, other) == pytest.approx(3**2 + (1 - 2) ** 2 + (3 - 1) ** 2, rel=1e-10)
    assert compute_frechet_distance(one, one) == pytest.approx(0, abs=1e-10)
    assert compute_frechet_distance(other, one) == pytest.approx(compute_frechet_distance(one, other), rel=1e-10)


def test_frechet_where_covariances_do_not_commute() -> None:
    """Against scipy's square root of a matrix that is not symmetric."""
    from scipy.linalg import sqrtm

    one, other = normal(60, 4, 0) @ normal(4, 4, 1), 1 + normal(60, 4, 2) @ normal(4, 4, 3)
    a, b = np.cov(one.T), np.cov(other.T)
    wanted = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert compute_frechet_distance(one, other) == pytest.approx(wanted, rel=1e-9)


def naive_kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    def pairs(one: np.ndarray, other: np.ndarray, same: bool) -> float:
        values = [
            (float(np.dot(a, b)) / len(a) + 1) ** 3
            for i, a in enumerate(one)
            for j, b in enumerate(other)
            if not (same and i == j)
        ]
        return sum(values) / len(values)

    return pairs(x, x, True) + pairs(y, y, True) - 2 * pairs(x, y, False)


def test_kernel_distance_is_its_naive_twin() -> None:
    x, y = normal(12, 5, 0), normal(9, 5, 1, mean=0.5)
    assert compute_kernel_distance(x, y) == pytest.approx(naive_kernel_distance(x, y), rel=1e-12)


def test_kernel_distance_is_unbiased() -> None:
    """Over random halves of one sample it is 0 in the mean, and of either sign."""
    rows, generator = normal(60, 8, 0), np.random.default_rng(1)
    found = []
    for _ in range(400):
        order = generator.permutation(len(rows))
        found.append(compute_kernel_distance(rows[order[:30]], rows[order[30:]]))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found)) + 1e-3
    assert min(found) < 0 < max(found)
    assert compute_kernel_distance(rows[:30], rows[30:] + 1) > 10 * np.std(found)


def test_items_drawn_twice_are_not_paired_with_themselves() -> None:
    """Under weights the kernel distance keeps its mean: the bootstrap adds no bias."""
    x, y = normal(40, 6, 0), normal(40, 6, 1)
    within_x, within_y, between = (naive_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    drawn = bootstrap(
        lambda a, b: [compute_weighted_kernel_distance(within_x, within_y, between, a, b)], [40, 40], 400
    )[:, 0]
    assert drawn.mean() == pytest.approx(compute_kernel_distance(x, y), abs=4 * drawn.std() / 20)


def naive_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([[(a @ b / len(a) + 1) ** 3 for b in y] for a in x])


def test_weights_are_repetitions() -> None:
    x, y = normal(20, 3, 0), normal(15, 3, 1, mean=1)
    weights = np.random.default_rng(2).integers(0, 4, 20)
    wanted = compute_frechet_distance(np.repeat(x, weights, axis=0), y)
    assert compute_frechet_distance(x, y, weights.astype(float)) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("measure", [compute_frechet_distance, compute_kernel_distance])
def test_the_order_of_items_changes_nothing(measure) -> None:
    x, y = normal(40, 6, 0), normal(40, 6, 1, mean=1)
    order = np.random.default_rng(2).permutation(40)
    assert measure(x[order], y[order[::-1]]) == pytest.approx(measure(x, y), rel=1e-12)


def test_order_changes_no_principal_distance() -> None:
    x, y = normal(40, 30, 0), normal(40, 30, 1, mean=1)
    order = np.random.default_rng(2).permutation(40)
    one, other = fit_principal_basis(x), fit_principal_basis(x[order])
    wanted = compute_frechet_distance(one.project(x), one.project(y))
    assert compute_frechet_distance(other.project(x), other.project(y)) == pytest.approx(wanted, rel=1e-12)


def test_principal_directions_are_the_reference_s_alone() -> None:
    x = normal(100, 3, 0) * [10, 1, 0.1]
    basis = fit_principal_basis(x, 2)
    assert basis.directions.shape == (3, 2) and np.allclose(np.abs(basis.directions[0, 0]), 1, atol=0.01)
    assert np.allclose(basis.directions.T @ basis.directions, np.eye(2))
    assert fit_principal_basis(normal(10, 50, 0)).directions.shape == (50, 9)  # no more than the sample has
    assert fit_principal_basis(normal(100, 50, 0)).directions.shape == (50, 16)


def test_one_item_is_no_set() -> None:
    for measure in (compute_frechet_distance, compute_kernel_distance):
        with pytest.raises(UserError, match="sets of 1 and 5 items"):
            measure(normal(1, 3, 0), normal(5, 3, 0))


def test_scaling_of_features() -> None:
    x = normal(50, 4, 0, mean=5, scale=3)
    x[:, 2] = 0.1  # constant
    z = standardise(x, x)
    assert np.allclose(z.mean(0), 0) and np.allclose(z.std(0), [1, 1, 0, 1])
    assert np.all(standardise(x + 1, x)[:, 2] == 0)
    rows = scale_to_unit_length(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert np.allclose((rows**2).sum(1), [2, 0])


def test_nearest_distances() -> None:
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert np.allclose(find_nearest_distances(x, np.array([[0.0, 2.0], [9.0, 9.0]])), np.sqrt([4 / 2, (9 + 4) / 2]))
    assert np.all(find_nearest_distances(x, x) == 0)


def test_the_bootstrap_can_be_repeated() -> None:
    values = normal(30, 1, 0)[:, 0]
    statistic = lambda weights: [weights @ values / len(values)]  # noqa: E731
    one, same, other = (bootstrap(statistic, [30], 200, seed) for seed in (5, 5, 6))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert estimate_mean(values) == estimate_mean(values)


def test_interval_of_a_mean_has_the_known_width() -> None:
    values = normal(400, 1, 0)[:, 0]
    found = estimate_mean(values)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    assert take_interval(np.arange(101.0), level=0.9) == pytest.approx((5, 95))


def test_rescaled_replicates_have_the_right_mean_and_spread() -> None:
    """In one population the Fréchet distance is bias alone; the bootstrap must know how it varies between samples."""
    samples = [compute_frechet_distance(normal(40, 8, 2 * i), normal(40, 8, 2 * i + 1)) for i in range(200)]
    x, y = normal(40, 8, 0), normal(40, 8, 1)
    drawn = bootstrap(lambda a, b: [compute_frechet_distance(x, y, a, b)], [40, 40], 400)
    assert drawn.mean() > 1.3 * np.mean(samples)  # drawing twice adds to the bias
    scaled = rescale_to(drawn, samples[0])[:, 0]
    assert scaled.mean() == pytest.approx(samples[0]) and scaled.min() >= 0
    assert scaled.std() == pytest.approx(np.std(samples), rel=0.4)
    assert np.all(rescale_to(np.zeros((5, 1)), 0.0) == 0)
