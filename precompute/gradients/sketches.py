"""Short sketches of long gradients, and ridge regression in their space.

The sketch is a sparse Johnson-Lindenstrauss transform with one entry a column (Charikar, Chen & Farach-Colton 2002):
every coordinate is given a random sign and added into one of k places, so that inner products stay what they were in
expectation, with variance at most |x|^2 |y|^2 2 / k. The places are made by cutting the vector into runs of k and
turning each run by a random shift: adding long runs is many times faster than scattering single numbers.
"""

from __future__ import annotations

import numpy as np
import torch

from precompute.common.seeds import derive_seed


class Sketch:
    """P -> k, seeded: the same for every track, clip and run."""

    def __init__(self, parameters: int, width: int, seed: int) -> None:
        self.parameters, self.width = parameters, width
        generator = torch.Generator().manual_seed(derive_seed(seed, width))
        self.runs = -(-parameters // width)
        self.signs = torch.randint(0, 2, (self.runs * width,), generator=generator, dtype=torch.int8) * 2 - 1
        self.shifts = torch.randint(0, width, (self.runs,), generator=generator).tolist()

    def __call__(self, rows: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """[n, P] -> [n, k] float32; `weight` [P] multiplies the rows first."""
        total = torch.zeros(len(rows), self.width)
        for run, shift in enumerate(self.shifts):
            first = run * self.width
            part = rows[:, first : first + self.width]
            size = part.shape[1]
            part = part * self.signs[first : first + size]
            if weight is not None:
                part = part * weight[first : first + size]
            unturned = min(size, self.width - shift)
            total[:, shift : shift + unturned] += part[:, :unturned]
            total[:, : size - unturned] += part[:, unturned:]
        return total


class Ridge:
    """(A'A + lambda I)^-1 for rows A [n, k] of training tracks, lambda = damping x mean squared length of a row.

    Solved as k x k, or as n x n where that is smaller: x (A'A + lambda I)^-1 y = (x.y - xA' (AA' + lambda I)^-1 Ay) /
    lambda. float64.
    """

    def __init__(self, rows: np.ndarray, damping: float, form: str = "auto") -> None:
        """`form`: "auto", "tracks" (n x n) or "sketch" (k x k)."""
        self.rows = np.asarray(rows, np.float64)
        self.is_by_track = len(self.rows) <= self.rows.shape[1] if form == "auto" else form == "tracks"
        self.damping = damping * max(float(np.square(self.rows).sum(1).mean()), 1e-300)
        gram = self.rows @ self.rows.T if self.is_by_track else self.rows.T @ self.rows
        gram[np.diag_indices_from(gram)] += self.damping
        self.gram = gram

    def solve(self, vectors: np.ndarray) -> np.ndarray:
        """[m, k] -> [m, k]: vectors (A'A + lambda I)^-1."""
        vectors = np.asarray(vectors, np.float64)
        if not self.is_by_track:
            return np.linalg.solve(self.gram, vectors.T).T
        return (vectors - self.compute_weights(vectors @ self.rows.T) @ self.rows) / self.damping

    def compute_weights(self, products: np.ndarray) -> np.ndarray:
        """[m, n] -> [m, n]: products (AA' + lambda I)^-1; for `is_by_track` alone."""
        return np.linalg.solve(self.gram, np.asarray(products, np.float64).T).T

    def compute_leverage(self) -> np.ndarray:
        """[n] in [0, 1): a_i (A'A + lambda I)^-1 a_i of the training tracks themselves."""
        return (self.solve(self.rows) * self.rows).sum(1)


def score_by_ridge(
    ridge: Ridge, stored: np.ndarray, cohort: np.ndarray, tracks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Clips [Q, H, k] and [K, k] with tracks [N, R, k] -> [Q, N, R, 1, H] and [K, N], the ridge's rows held fixed."""
    q, halves, width = stored.shape
    solved = ridge.solve(stored.reshape(q * halves, width))
    flat = tracks.reshape(-1, width).astype(np.float64)
    cells = (solved @ flat.T).reshape(q, halves, *tracks.shape[:2]).transpose(0, 2, 3, 1)
    of_cohort = ridge.solve(cohort) @ tracks.mean(1).astype(np.float64).T
    return np.ascontiguousarray(cells[:, :, :, None, :]), of_cohort
