"""Diagnostics of a published run, as JSON to keep and as a printed table (`python -m precompute report`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from precompute.common.results import describe_hardware, write_result
from precompute.store.reading import open_store

PERCENT, NUMBER = "{:.0%}", "{:.2f}"
LINES = (  # of the table: text, diagnostic without its suffix, format
    ("decoys in the top 10", "decoys_top10", PERCENT),
    ("decoys in the top 40", "decoys_top40", PERCENT),
    ("training track above decoy (0.5 = chance)", "auc", NUMBER),
    ("rank of an unlearned training track in its own list, mean", "self_rank", NUMBER),
    ("correlation between the rankings of different clips", "clip_correlation", NUMBER),
    ("share of the positive score held by the top 1", "share_top1", PERCENT),
    ("… by the top 10", "share_top10", PERCENT),
    ("… by the top 100", "share_top100", PERCENT),
    ("correlation of score with a track's length", "duration_correlation", NUMBER),
)


def report_diagnostics(store_path: Path, out: Path) -> None:
    """Write the diagnostics of a store to `out` and print them. Raises UserError where the store cannot be read."""
    with open_store(store_path) as store:
        method = store.runs.list_methods()[0]
        rows = [vars(item) for item in store.runs.list_diagnostics(method.method_id)]
        run = store.runs.read_latest()
    write_result(
        out,
        what=f"diagnostics of {store_path.name}, method {method.name}, along training",
        command="python -m precompute run --config precompute/configs/demo-full.toml; python -m precompute report",
        hardware=describe_hardware(run.device),
        rows=rows,
        commit=run.commit_hash,  # of the code that made the store
    )
    print(format_diagnostics(rows))


def format_diagnostics(rows: list[dict[str, Any]]) -> str:
    """Diagnostics of raw and normalised scores by kept training step, as Markdown; the last: the shipped weights."""
    values = {(row["checkpoint_step"], row["name"]): row["value"] for row in rows}
    steps = sorted({step for step, _ in values})
    head = [f"{kind}, step {step:,}" for kind in ("raw", "normalised") for step in steps]
    chance = values[steps[-1], "decoys_chance"]
    lines = ["| | " + " | ".join(head) + " |", "|---|" + "---|" * len(head)]
    for text, name, form in LINES:
        shown = [form.format(values[step, f"{name}_{kind}"]) for kind in ("raw", "norm") for step in steps]
        label = f"{text} (by chance {chance:.0%})" if name == "decoys_top10" else text
        lines.append(f"| {label} | " + " | ".join(shown) + " |")
    return "\n".join(lines)
