"""Progress of a stage: in a terminal a bar with the time left, in a log or pipe a line now and then; a line at the end.

Times are in seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LOG_INTERVAL_S = 15.0  # between two lines in a log


def progress(what: str, items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items and show how many are done; `what` names the stage."""
    began = time.monotonic()
    with start_bar(what, len(items)) as bar:
        for item in items:
            yield item
            bar.update()
    print(f"  {what}: {len(items)} of {len(items)}, {format_duration(time.monotonic() - began)}", flush=True)


def start_bar(what: str, total: int) -> tqdm:
    """A bar on standard output that vanishes when it is closed; lines in its place where that is no terminal."""
    if sys.stdout.isatty():
        return tqdm(total=total, desc=f"  {what}", file=sys.stdout, leave=False, dynamic_ncols=True)
    return tqdm(
        total=total,
        desc=f"  {what}",
        file=_Lines(),
        leave=False,
        delay=LOG_INTERVAL_S,
        mininterval=LOG_INTERVAL_S,
        bar_format="{desc}: {n_fmt} of {total_fmt}, {remaining} left{postfix}",
    )


class _Lines:
    """Prints each state of a bar as a line of its own."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n").rstrip()
        if line:
            print(line, flush=True)

    def flush(self) -> None:
        """Every line is flushed when it is printed."""


def format_duration(seconds: float) -> str:
    """'40 s' or '3 min 20 s'."""
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60:02d} s"
