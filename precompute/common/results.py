"""Results that are kept as JSON (`assets/benchmarks`): `what, command, hardware, commit, repeats, rows` and more.

Needs no torch. Numbers are kept to six significant digits.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from precompute.common.files import write_atomically

Row = dict[str, Any]
RESULTS_FOLDER = Path(__file__).resolve().parents[2] / "assets/benchmarks"


def write_result(
    out: Path, what: str, command: str, hardware: str, rows: Sequence[Row], repeats: int = 1, **more: Any
) -> dict[str, Any]:
    """Write a result and `more` fields to `out`, one line per row; returns what a reader of the file gets.

    `command`: how to repeat it; of "python -m precompute ..." the options that this process was started with are added.
    Raises OSError.
    """
    result = {
        "what": what,
        "command": add_options(command),
        "hardware": hardware,
        "commit": read_commit(),
        "repeats": repeats,
        "rows": _round(list(rows)),
        **_round(more),
    }
    text = _format_json(result)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text + "\n")
    return json.loads(text)


def describe_hardware(device: str = "") -> str:
    """This machine in a line, such as "AMD EPYC, 2 cores, 2 threads, torch 2.14.1, cpu".

    Threads and version of torch are named where this process has loaded it.
    """
    name = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux
    torch = sys.modules.get("torch")
    loaded = [f"{torch.get_num_threads()} threads", f"torch {torch.__version__}"] if torch is not None else []
    return ", ".join([name, f"{os.cpu_count()} cores", *loaded, *filter(None, [device])])


def read_commit() -> str | None:
    """Hash of the code's commit, with '-dirty' where files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None


def add_options(command: str) -> str:
    """A command "python -m precompute VERB" with the options of this process, where that is how it was started.

    Paths below the current folder are made relative to it, so that the line can be repeated elsewhere. Other commands
    are returned unchanged.
    """
    words, arguments = command.split(), sys.argv[1:]
    verbs = words[3:]
    if words[:2] != ["python", "-m"] or arguments[: len(verbs)] != verbs:
        return command
    here = f"{Path.cwd()}{os.sep}"
    return " ".join([command, *(shlex.quote(option.removeprefix(here)) for option in arguments[len(verbs) :])])


def format_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows as a Markdown table of some of their columns; a cell is empty where a row lacks the column."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        lines.append("| " + " | ".join(_format_cell(row.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def _format_json(result: Mapping[str, Any]) -> str:
    """JSON with a line for each field, and for each row of a field that is a list."""
    fields = []
    for name, value in result.items():
        rows = [json.dumps(row) for row in value] if isinstance(value, list) else []
        fields.append(f" {json.dumps(name)}: " + ("[\n  " + ",\n  ".join(rows) + "\n ]" if rows else json.dumps(value)))
    return "{\n" + ",\n".join(fields) + "\n}"


def _round(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _round(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_round(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
