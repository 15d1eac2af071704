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
    with Progress(what, len(items)) as shown:
        for item in items:
            yield item
            shown.advance()


class Progress:
    """Shows the state of a stage while the `with` block runs; prints a closing line where it ends without an error."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.note = what, total, 0, ""
        self.began = time.monotonic()

    def __enter__(self) -> Progress:
        self.bar = start_bar(self.what, self.total)
        return self

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` stands behind the time left from now on."""
        self.done, self.note = self.done + count, note
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(count)

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.monotonic() - self.began

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.bar.close()
        if kind is None:
            note = f", {self.note}" if self.note else ""
            print(f"  {self.what}: {self.done} of {self.total}, {format_duration(self.seconds)}{note}", flush=True)


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
    """'40 s', '3 min 20 s', '2.5 h' (from two hours on) or '3.1 days' (from two days on)."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{seconds / 3600:.1f} h" if whole < 172_800 else f"{seconds / 86_400:.1f} days"
