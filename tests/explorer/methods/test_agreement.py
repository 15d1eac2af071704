"""Agreement of methods where the run stored none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from explorer.methods.agreement import measure_agreement
from explorer.methods.correlation import correlate_ranks
from explorer.store.records import MethodRecord, ScoreSample

A, B = MethodRecord(1, "a", "Method A", "", True), MethodRecord(2, "b", "Method B", "", True)


def test_agreement_is_worked_out_where_the_run_kept_none():
    up, noise = np.arange(6.0), np.array([0.0, 3, 1, 4, 2, 5])
    samples = {
        1: ScoreSample(np.array([1, 9]), np.arange(6), np.array([up, up])),
        2: ScoreSample(np.array([1, 9]), np.arange(6), np.array([noise, -up])),
    }
    rows = {"clip_id": [1, 1], "track_id": [1, 2], "train_rank": pd.array([1, 2], dtype="Int64")}
    other = {**rows, "track_id": [2, 3]}
    found = measure_agreement(
        [A, B], {1: pd.DataFrame(rows), 2: pd.DataFrame(other)}, samples, clips={1}
    )  # 9: a control
    assert [(one.method_a, one.method_b) for one in found] == [(1, 2), (2, 1)]
    assert found[0].spearman == pytest.approx(correlate_ranks(up, noise)) == found[1].spearman
    assert found[0].pearson == pytest.approx(np.corrcoef(up, noise)[0, 1]) and found[0].top10 == 0.5
