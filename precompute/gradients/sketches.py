"""Short sketches of long gradients, and ridge regression in their space.

The sketch is a sparse Johnson-Lindenstrauss transform with one entry a column (Charikar, Chen & Farach-Colton 2002):
every coordinate is given a random sign and added into one of k places, so that inner products stay what they were in
expectation, with variance at most |x|^2 |y|^2 2 / k. The places are made by cutting the vector into runs of k and
turning each run by a random shift: adding long runs is many times faster than scattering single numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from precompute.common.seeds import derive_seed
from precompute.gradients.flat_vectors import TINY

BLOCK = 1 << 23  # numbers of sketches that are float64 at once


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

    def expand(self, rows: torch.Tensor) -> torch.Tensor:
        """The transposed projection, [n, k] -> [n, P] float32: (x sketched) . y = x . (y expanded)."""
        parts = []
        for run, shift in enumerate(self.shifts):
            first = run * self.width
            size = min(self.width, self.parameters - first)
            turned = torch.roll(rows, -shift, dims=1)[:, :size]
            parts.append(turned * self.signs[first : first + size])
        return torch.cat(parts, 1)


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

    def measure_lengths(self, vectors: np.ndarray) -> np.ndarray:
        """[m, k] -> [m]: sqrt(x (A'A + lambda I)^-1 x), at least the root of TINY."""
        vectors = np.asarray(vectors, np.float64)
        return np.sqrt(np.maximum((self.solve(vectors) * vectors).sum(1), TINY))

    def compute_leverage(self) -> np.ndarray:
        """[n] in [0, 1): a_i (A'A + lambda I)^-1 a_i of the training tracks themselves."""
        return (self.solve(self.rows) * self.rows).sum(1)


class TrackRows(Protocol):
    """Sketches of tracks by replicate, [N, R, k] float32, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, R, k)"""
        ...

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Some tracks' sketches: [n, R, k]."""
        ...


@dataclass(frozen=True)
class TrackRidge:
    """Ridge regression on the training tracks, each of which may be left out of its own.

    Sherman & Morrison: without row a, x (..)^-1 y = x G y + (x G a)(a G y) / (1 - a G a), with G of all rows.
    """

    ridge: Ridge
    rate: np.ndarray  # [N, R]: (a G y) / (1 - a G a) of each replicate y of a track left out; 0 for all others

    @classmethod
    def fit(cls, tracks: TrackRows, trained: Sequence[int], damping: float, leave_out: bool = True) -> TrackRidge:
        """Fit on the `trained` rows of the tracks; `leave_out`: each of these scores by a ridge without it."""
        rows = np.concatenate([tracks[chunk].mean(1) for chunk in _cut(trained, tracks.shape)])
        return cls.leave_out(Ridge(rows, damping), tracks, trained if leave_out else [])

    @classmethod
    def leave_out(cls, ridge: Ridge, tracks: TrackRows, trained: Sequence[int]) -> TrackRidge:
        """Leave each of the tracks out of its own ridge; `trained`: which they are, in the order of its rows."""
        rate, done = np.zeros(tracks.shape[:2]), 0
        for chunk in _cut(trained, tracks.shape):
            solved = ridge.solve(ridge.rows[done : done + len(chunk)])
            own = np.einsum("nk,nrk->nr", solved, tracks[chunk])  # a G y of each replicate
            rate[chunk] = own / (1 - own.mean(1, keepdims=True))
            done += len(chunk)
        return cls(ridge, rate)

    @property
    def factor(self) -> np.ndarray:
        """[N]: what leaving a track out multiplies its score by: 1 / (1 - leverage)."""
        return 1 + self.rate.mean(1)

    def measure_lengths(self, tracks: TrackRows, trained: Sequence[int]) -> np.ndarray:
        """[N]: `Ridge.measure_lengths` of all tracks' mean rows, a training track by a ridge without it."""
        lengths = np.concatenate(
            [self.ridge.measure_lengths(tracks[rows].mean(1)) for rows in _cut(range(tracks.shape[0]), tracks.shape)]
        )
        lengths[list(trained)] *= np.sqrt(self.factor[list(trained)])  # its square is h / (1 - h)
        return lengths

    def score_halves(self, halves: np.ndarray, tracks: TrackRows) -> np.ndarray:
        """Partial scores of clips [Q, H, k]: [Q, N, R, 1, H]."""
        products = multiply_rows(self.ridge.solve(halves.reshape(-1, halves.shape[2])), tracks)
        cells = products.reshape(*halves.shape[:2], *products.shape[1:]).transpose(0, 2, 3, 1)
        cells = cells + cells.mean(2, keepdims=True) * self.rate[None, :, :, None]
        return np.ascontiguousarray(cells[:, :, :, None, :])

    def score(self, vectors: np.ndarray, tracks: TrackRows) -> np.ndarray:
        """Scores of clips, or of windows of clips, [m, k]: [m, N]."""
        return multiply_rows(self.ridge.solve(vectors), tracks).mean(2) * self.factor

    def score_windows(self, windows: Sequence[np.ndarray], tracks: TrackRows) -> np.ndarray:
        """Parts [Q, N, W] of the scores of Q clips by window [W, k] each; NaN past a clip's last."""
        counts = [len(own) for own in windows]
        parts = np.full((len(counts), tracks.shape[0], max(counts, default=0)), np.nan)
        scores = self.score(np.concatenate(windows), tracks) if counts else np.zeros((0, tracks.shape[0]))
        for q, own in enumerate(np.split(scores, np.cumsum(counts)[:-1]) if counts else []):
            parts[q, :, : counts[q]] = own.T
        return parts


def multiply_rows(vectors: np.ndarray, tracks: TrackRows) -> np.ndarray:
    """[m, k] x [N, R, k] -> [m, N, R] float64, by runs of tracks, which may lie on disk."""
    products = np.empty((len(vectors), *tracks.shape[:2]))
    for chunk in _cut(range(tracks.shape[0]), tracks.shape):
        flat = tracks[chunk].reshape(-1, tracks.shape[2]).astype(np.float64)
        products[:, chunk] = (vectors @ flat.T).reshape(len(vectors), len(chunk), -1)
    return products


def _cut(rows: Sequence[int], shape: tuple[int, ...]) -> list[list[int]]:
    """Rows of [N, R, k] in runs of about BLOCK numbers."""
    step = max(1, BLOCK // max(1, shape[1] * shape[2]))
    return [list(rows[start : start + step]) for start in range(0, len(rows), step)]


def score_by_ridge(
    ridge: Ridge, stored: np.ndarray, cohort: np.ndarray, tracks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Clips [Q, H, k] and [K, k] with tracks [N, R, k] -> [Q, N, R, 1, H] and [K, N]; the ridge's rows held fixed."""
    fixed = TrackRidge.leave_out(ridge, tracks, [])
    return fixed.score_halves(stored, tracks), fixed.score(cohort, tracks)
