"""Correlations of two methods on one clip, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.methods import correlation
from explorer.store.records import ScoreSample


def sample(*rows: list[float], clips: tuple[int, ...] = (1, 2)) -> ScoreSample:
    return ScoreSample(np.array(clips), np.arange(len(rows[0])), np.array(rows, dtype=float))


def test_rank_correlation_leaves_out_what_one_method_did_not_score():
    a, b = sample([1.0, 2.0, 3.0, 90.0]), sample([1.0, 2.0, 3.0, np.nan])
    assert correlation.correlate_clip(correlation.rank_scores(a), 0, correlation.rank_scores(b), 0) == pytest.approx(
        1.0
    )
    shifted = ScoreSample(b.clip_id, b.track_id + 1, b.value)
    x, y = correlation.align_scores(a, a.value[0], shifted, shifted.value[0])
    assert x.tolist() == [2.0, 3.0, 90.0] and y.tolist() == [1.0, 2.0, 3.0]
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=50), rng.normal(size=50)
    gaps = x.argsort().argsort() - y.argsort().argsort()
    assert correlation.correlate_ranks(x, y) == pytest.approx(1 - 6 * float((gaps**2).sum()) / (50 * (50**2 - 1)))
    assert np.isnan(correlation.correlate_ranks(np.ones(5), np.arange(5.0))) and np.isnan(
        correlation.correlate_ranks(x[:2], y[:2])
    )
