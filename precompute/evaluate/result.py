"""A judgement as JSON to keep (`assets/benchmarks`) and as a table to print. No torch."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from precompute.record import commit_hash

Row = dict[str, Any]


def write_result(out: Path, what: str, command: str, device: str, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """Write `what, command, hardware, commit, repeats, rows` and `more` to `out`; what a reader of it gets."""
    kept = {
        "what": what,
        "command": command,
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, {device}",
        "commit": commit_hash(),
        "repeats": 1,
        "rows": list(rows),
        **more,
    }
    text = json.dumps(kept, indent=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n", encoding="utf-8")
    return json.loads(text)


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
