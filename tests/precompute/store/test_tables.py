"""Results as columns of the store."""

from __future__ import annotations

import numpy as np

from precompute.store.tables import tabulate_agreement


def test_agreement_has_both_orders_of_every_pair() -> None:
    one, other = np.array([[4.0, 3, 2, 1], [1, 2, 3, 4]]), np.array([[1.0, 2, 3, 4], [1, 2, 4, 3]])
    columns = tabulate_agreement([1, 3], [one, other])
    assert columns["method_a"] == [1, 3] and columns["method_b"] == [3, 1]
