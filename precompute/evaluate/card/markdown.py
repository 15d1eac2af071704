"""Markdown of the model card: a table, and a number with its interval. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def estimate(row: Row, form: str) -> str:
    """'1.2 [1.1, 1.3]', or the value alone where it has no interval of its own."""
    value = f"{row['value']:{form}}"
    if row.get("low") is None or row["low"] == row["high"]:
        return value
    return f"{value} [{row['low']:{form}}, {row['high']:{form}}]"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
