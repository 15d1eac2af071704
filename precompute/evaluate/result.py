"""A judgement as JSON to keep (`assets/benchmarks`) and as a table to print. No torch."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precompute.record import commit_hash

Row = dict[str, Any]


def write_result(out: Path, what: str, command: str, device: str, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """Write `what, command, hardware, commit, repeats, rows` and `more` to `out`; what a reader of it gets.

    Numbers are kept to six significant digits: what is drawn at random tells no more.
    """
    kept = {
        "what": what,
        "command": command,
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, {device}",
        "commit": commit_hash(),
        "repeats": 1,
        "rows": _short(list(rows)),
        **_short(more),
    }
    text = json.dumps(kept, indent=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n", encoding="utf-8")
    return json.loads(text)


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows as a Markdown table of some of their columns; what a row lacks stays empty."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        lines.append("| " + " | ".join(_shown(row.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
