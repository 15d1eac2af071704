"""Choosing a few of many, evenly."""

from __future__ import annotations


def spread_evenly(total: int, count: int) -> list[int]:
    """`count` of the numbers 0 .. total - 1 from the first on, in order; all where `count` is 0 or above `total`."""
    if count <= 0 or count >= total:
        return list(range(total))
    return [i * total // count for i in range(count)]
