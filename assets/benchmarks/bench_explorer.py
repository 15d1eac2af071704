"""Measures the page over a large store: `make bench-explorer`, or `python assets/benchmarks/bench_explorer.py`.

The real server runs as a process of its own; this process is the only client, and all its listeners are tasks of one
loop. Nothing is pinned: client and server share the machine's cores. Time of a selection: from the click to the whole
answer, drawing and sound apart. Closed loop: each listener clicks again as soon as the answer is there, which no
person does; with a pause, each listens for a while in between. Units stand in the names.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import explorer_store
import httpx
from listener import TIMEOUT_S, SimulatedListener, Tally

from precompute.common.results import describe_hardware, write_result

ROOT = explorer_store.ROOT
WHAT = "python -m explorer over a made-up store: start, memory, time and size of a selection"
ALONE = 300  # selections of one listener alone
THINK_S = 1.0  # mean of the exponential pause of a listener who listens in between
ONE, CLOSED, PAUSED = "one listener", "many listeners, closed loop", "many listeners with pauses"
# Targets.
MOST_START_S, MOST_ALONE_P50_MS, MOST_P95_MS, MOST_CURVE_KB = 4.0, 150.0, 1000.0, 50.0


@contextmanager
def serve(store: Path) -> Iterator[tuple[str, int, float]]:
    """Start a server; yields its address, process id, and time.monotonic at the start. It ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    command = [sys.executable, "-m", "explorer", "--store", str(store), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            match = None
            while match is None and (line := server.stdout.readline() if server.stdout else ""):
                match = re.search(r" at (http://[\d.:]+) ", line)
            if match is None:
                raise SystemExit("bench-explorer: the server did not start; its message stands above")
            yield match[1], server.pid, started
        finally:
            server.terminate()


def measure_memory_mb(pid: int) -> int:
    """Resident memory of a process, MB."""
    done = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return round(int(done.stdout) / 1000)


def _open_client(address: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(base_url=address, timeout=2 * TIMEOUT_S, limits=limits, trust_env=False)


@dataclass(frozen=True)
class ListenerRun:
    """One case, with a server of its own, whose caches are empty at first."""

    tally: Tally
    wall_s: float
    start_s: float  # from the start of the process to the first page with all its data
    start_mb: int
    end_mb: int


async def run_listeners(store: Path, listeners: int, seconds: float, think_s: float, most: int | None) -> ListenerRun:
    """Listeners side by side for so long, or until each has made `most` selections."""
    tally = Tally()
    with serve(store) as (address, pid, started):
        async with _open_client(address) as http:
            first, *others = (SimulatedListener(http, 1000 * listeners + i, tally) for i in range(listeners))
            await first.open()
            start_s, start_mb = time.monotonic() - started, measure_memory_mb(pid)
            await asyncio.gather(*(listener.open() for listener in others))
            begun = time.monotonic()
            people = [first, *others]
            await asyncio.gather(*(listener.select_until(begun + seconds, think_s, most) for listener in people))
            return ListenerRun(tally, time.monotonic() - begun, start_s, start_mb, measure_memory_mb(pid))


def measure_cases(options: argparse.Namespace, store: Path) -> list[dict[str, Any]]:
    """Rows of the result: the start (median of the cases), each case, then bytes over all cases."""
    runs, rows = [], []
    for case, listeners, think_s, most in (
        (ONE, 1, 0.0, ALONE),
        (CLOSED, options.listeners, 0.0, None),
        (PAUSED, options.listeners, THINK_S, None),
    ):
        done = asyncio.run(run_listeners(store, listeners, options.seconds, think_s, most))
        runs.append(done)
        of_case = done.tally.make_rows({"case": case, "listeners": listeners, "think_s": think_s}, done.wall_s)
        rows += [{**of_case[0], "memory_mb": done.end_mb}, *of_case[1:]]
        for error in done.tally.errors[:3]:
            print(f"bench-explorer: {case}: {error}", file=sys.stderr)
    start_s = statistics.median(done.start_s for done in runs)
    start_mb = statistics.median(done.start_mb for done in runs)
    sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for done in runs:
        for key, counts in done.tally.bytes.items():
            sizes[key] += counts
    for (case, kind), counts in sorted(sizes.items()):
        middle, largest = statistics.median(counts) / 1000, max(counts) / 1000
        rows.append({"case": case, "kind": kind, "median_kb": round(middle, 1), "max_kb": round(largest, 1)})
    return [{"case": "start", "starts": len(runs), "seconds": round(start_s, 2), "memory_mb": start_mb}, *rows]


def compare_with_targets(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each target: met or not, and the measured value."""
    by = {(row["case"], row.get("kind")): row for row in rows}
    start, curve = by[("start", None)]["seconds"], by[("part of an answer", "curve")]["max_kb"]
    alone, closed = by[(ONE, "all")], by[(CLOSED, "all")]
    errors = sum(row.get("errors", 0) for row in rows)
    checks = (
        (start < MOST_START_S, f"start {start:.1f} s, asked < {MOST_START_S:g} s"),
        (
            alone["p50_ms"] < MOST_ALONE_P50_MS,
            f"one listener: p50 of a selection {alone['p50_ms']:.0f} ms, asked < {MOST_ALONE_P50_MS:g} ms",
        ),
        (
            closed["p95_ms"] < MOST_P95_MS,
            f"{closed['listeners']} listeners, closed loop: p95 of a selection {closed['p95_ms']:.0f} ms, "
            f"asked < {MOST_P95_MS:g} ms",
        ),
        (errors == 0, f"{errors} errors, asked 0"),
        (curve < MOST_CURVE_KB, f"curve at most {curve:.1f} kB, asked < {MOST_CURVE_KB:g} kB"),
    )
    return [f"{'met' if met else 'NOT met'}: {text}" for met, text in checks]


def format_rows(rows: list[dict[str, Any]]) -> str:
    """The rows as a table; a cell is empty where a row has no such value."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([str(row.get(key, "")) for key in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the page over a large store.")
    explorer_store.add_sizes(parser)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each run (default: %(default)s)")
    parser.add_argument("--listeners", type=int, default=20)
    parser.add_argument("--out", type=Path, default=ROOT / "assets/benchmarks/explorer.json")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    size = explorer_store.StoreSize(options.tracks, options.clips, options.methods)
    rows = measure_cases(options, explorer_store.make_store(size, options.folder))
    sizes = f"{size.tracks:,} tracks and {size.decoys:,} decoys × {size.clips} clips × {size.methods} methods"
    hardware = f"{describe_hardware()}; client and server share them"
    write_result(options.out, f"{WHAT} ({sizes})", "make bench-explorer", hardware, rows)
    print(format_rows(rows))
    print("\n".join(compare_with_targets(rows)))


if __name__ == "__main__":
    main()
