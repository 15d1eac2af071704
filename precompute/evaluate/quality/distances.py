"""Distances between two sets of feature vectors, with bootstrap intervals. Pure functions of numpy arrays, in fp64.

Conventions: a set is [N, S], one row an item; a distance is lower for sets that are more alike. Weights [N] say how
often an item counts (a bootstrap draws items with replacement); left out, every item counts once. The order of a set's
items changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from precompute.errors import UserError

DIMENSIONS = 16  # of the Fréchet distance: a covariance of more would not be settled by some 100 items
REPLICATES = 1000  # of a bootstrap
LEVEL = 0.95  # of an interval


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, in the value's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Basis:
    """Principal directions of a reference set."""

    mean: np.ndarray  # [S]
    directions: np.ndarray  # [S, K], orthonormal, largest variance first

    def project(self, features: np.ndarray) -> np.ndarray:
        """[N, S] -> [N, K]."""
        return (np.asarray(features, dtype=np.float64) - self.mean) @ self.directions


def scale_to_unit_length(features: np.ndarray) -> np.ndarray:
    """Rows [N, S] scaled to length √S, so that x·y / S is their cosine; a row of zeros stays as it is."""
    rows = np.asarray(features, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.sqrt(rows.shape[1]) / np.where(length > 0, length, 1)


def standardise(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[N, S] in standard deviations of the reference [M, S] from its mean.

    A feature that is constant in the reference has no scale there and becomes 0.
    """
    base = np.asarray(reference, dtype=np.float64)
    deviation = base.std(0)
    constant = deviation <= 1e-9 * (np.abs(base).max(0) + 1e-300)
    return np.where(constant, 0, (features - base.mean(0)) / np.where(constant, 1, deviation))


# -- kernel distance ---------------------------------------------------------------------------------------------------


def compute_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x·y / S + 1)³ for all pairs of rows: [N, S], [M, S] -> [N, M]."""
    return (np.asarray(x, dtype=np.float64) @ np.asarray(y, dtype=np.float64).T / x.shape[1] + 1) ** 3


def compute_kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Squared maximum mean discrepancy of sets [N, S] and [M, S], unbiased: 0 in the mean for sets of one population.

    It can fall below 0. The kernel is that of KID (Bińkowski et al. 2018, arXiv 1801.01401). Raises UserError below 2
    items a set.
    """
    _check_items(x, y)
    return compute_weighted_kernel_distance(compute_kernel(x, x), compute_kernel(y, y), compute_kernel(x, y))


def compute_weighted_kernel_distance(
    within_x: np.ndarray,
    within_y: np.ndarray,
    between: np.ndarray,
    weights_x: np.ndarray | None = None,
    weights_y: np.ndarray | None = None,
) -> float:
    """The kernel distance from kernels [N, N], [M, M], [N, M], under weights [N], [M].

    An item is never paired with itself, however often a bootstrap drew it: such pairs would make the sets look unlike.
    """
    a, b = _fill_weights(weights_x, len(within_x)), _fill_weights(weights_y, len(within_y))
    return _average_pairs(within_x, a) + _average_pairs(within_y, b) - 2 * float(a @ between @ b / (a.sum() * b.sum()))


def _average_pairs(within: np.ndarray, weights: np.ndarray) -> float:
    """Weighted mean over pairs of different items."""
    square = weights**2
    return float((weights @ within @ weights - square @ np.diag(within)) / (weights.sum() ** 2 - square.sum()))


# -- Fréchet distance --------------------------------------------------------------------------------------------------


def fit_principal_basis(reference: np.ndarray, dimensions: int = DIMENSIONS) -> Basis:
    """The first principal directions of a reference [M, S]: at most `dimensions`, S, or M - 1 of them.

    Fitted on the reference alone, so that a set that is compared with it does not decide what counts as a difference.
    """
    base = np.asarray(reference, dtype=np.float64)
    mean = base.mean(0)
    _, _, directions = np.linalg.svd(base - mean, full_matrices=False)
    return Basis(mean, directions[: min(dimensions, base.shape[1], max(1, len(base) - 1))].T)


def compute_frechet_distance(
    x: np.ndarray, y: np.ndarray, weights_x: np.ndarray | None = None, weights_y: np.ndarray | None = None
) -> float:
    """Fréchet distance of the Gaussians fitted to sets [N, K] and [M, K] (Heusel et al. 2017, arXiv 1706.08500).

    |difference of means|² + trace(A + B - 2 (A B)^½), never below 0; in squared units of the features. It is biased
    upward, more so for few items: compare only distances between sets of the same sizes, K small beside them. Raises
    UserError below 2 items a set.
    """
    _check_items(x, y)
    mean_x, cov_x = _fit_gaussian(np.asarray(x, dtype=np.float64), _fill_weights(weights_x, len(x)))
    mean_y, cov_y = _fit_gaussian(np.asarray(y, dtype=np.float64), _fill_weights(weights_y, len(y)))
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    overlap = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_y @ root), 0, None)).sum()  # trace of (A B)^½
    moved = float(((mean_x - mean_y) ** 2).sum())
    return max(0.0, moved + float(np.trace(cov_x) + np.trace(cov_y) - 2 * overlap))


def _fit_gaussian(rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [K] and covariance [K, K]."""
    total = weights.sum()
    mean = weights @ rows / total
    centred = rows - mean
    return mean, (centred * weights[:, None]).T @ centred / (total - 1)


# -- nearest neighbours ------------------------------------------------------------------------------------------------


def find_nearest_distances(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[N, S], [M, S] -> [N]: root mean square difference of each row to the reference row that is nearest to it."""
    x, y = np.asarray(features, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    nearest = [((y - row) ** 2).mean(1).min() for row in x]  # row by row: exact for equal rows, and little memory
    return np.sqrt(np.array(nearest))


# -- bootstrap ---------------------------------------------------------------------------------------------------------


def bootstrap(
    statistic: Callable[..., Sequence[float] | np.ndarray],
    counts: Sequence[int],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> np.ndarray:
    """Statistics [replicates, ...] of items drawn with replacement; the same seed gives the same draws.

    `statistic` takes one array of weights [N] for each group, `counts` being the groups' sizes. Items that belong
    together (a clip and the decoy whose caption it has) are one group, so that they are drawn together.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(replicates):
        drawn = (generator.integers(0, count, count) for count in counts)
        weights = [np.bincount(d, minlength=c).astype(np.float64) for d, c in zip(drawn, counts, strict=True)]
        rows.append(np.asarray(statistic(*weights), dtype=np.float64))
    return np.stack(rows)


def rescale_to(replicates: np.ndarray, value: np.ndarray | float) -> np.ndarray:
    """Replicates [R, ...], all at least 0, scaled so that their mean is the value.

    For a biased statistic like the Fréchet distance: items drawn twice double the sampling noise that the bias is made
    of, in mean and spread alike, and the interval would otherwise lie beside its own estimate.
    """
    mean = replicates.mean(0)
    return replicates * np.where(mean > 0, value / np.where(mean > 0, mean, 1), 1)


def take_interval(replicates: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of replicates [R] (Efron 1979)."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate_mean(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean of values [N] with its bootstrap interval over them."""
    items = np.asarray(values, dtype=np.float64)
    drawn = bootstrap(lambda weights: [weights @ items / len(items)], [len(items)], seed=seed)[:, 0]
    return Estimate(float(items.mean()), *take_interval(drawn))


def _fill_weights(weights: np.ndarray | None, count: int) -> np.ndarray:
    return np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)


def _check_items(x: np.ndarray, y: np.ndarray) -> None:
    if min(len(x), len(y)) < 2:
        raise UserError(f"a distance between sets of {len(x)} and {len(y)} items: each needs at least 2")
