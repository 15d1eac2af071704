"""A judgement as JSON to keep (`assets/benchmarks`) and as a table to print. No torch."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precompute.store.record import commit_hash

Row = dict[str, Any]


def write_result(out: Path, what: str, command: str, device: str, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """Write `what, command, hardware, commit, repeats, rows` and `more` to `out`; what a reader of it gets.

    `command`: "python -m precompute ..." without options; those that it was started with are added.

    Numbers are kept to six significant digits: what is drawn at random tells no more.
    """
    kept = {
        "what": what,
        "command": as_typed(command),
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, {device}",
        "commit": commit_hash(),
        "repeats": 1,
        "rows": _short(list(rows)),
        **_short(more),
    }
    text = _text(kept)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n", encoding="utf-8")
    return json.loads(text)


def as_typed(command: str) -> str:
    """A command with the options of this process, where it was started by that command.

    Paths below the current folder are made relative to it, so that the line can be repeated elsewhere.
    """
    words, given = command.split()[3:], sys.argv[1:]
    if given[: len(words)] != words:
        return command
    here = f"{Path.cwd()}{os.sep}"
    return " ".join([command, *(shlex.quote(option.removeprefix(here)) for option in given[len(words) :])])


def _text(kept: Mapping[str, Any]) -> str:
    """JSON with a line for each field, and for each row of a field that is a list."""
    fields = []
    for name, value in kept.items():
        rows = [json.dumps(one) for one in value] if isinstance(value, list) else []
        fields.append(f" {json.dumps(name)}: " + ("[\n  " + ",\n  ".join(rows) + "\n ]" if rows else json.dumps(value)))
    return "{\n" + ",\n".join(fields) + "\n}"


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
