"""Measures the search of the index at the size of a real corpus: `python assets/benchmarks/bench_index.py`.

115,000 made-up tracks of random int8 sketches in a file of 0.9 GB, memory-mapped as `attribute` maps them; ten seconds,
no torch. The time does not depend on the numbers. Cases: "search", a new clip's scores (two halves and eight
windows, as `attribute` asks for); "judge", what is fitted on 48 cohort clips before the first search. The file has just
been written, so it is read from memory: the first reading after a start adds what the disk takes. `memory_mb`: the
process' peak, the mapped file included; `computed_mb`: the file, the columns and the scores.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from precompute.common.results import describe_hardware, write_result  # noqa: E402
from precompute.index.search import Estimator, multiply_sketches  # noqa: E402
from precompute.significance.normalisation import Normalisation  # noqa: E402

WHAT = "search of an index of made-up sketches, and what is fitted before it"
MOST_SEARCH_S = 1.0  # the target
CLIPS, PARTS, REPEATS = 48, 10, 5
STEP = 4096  # tracks that are made at once


def make_sketches(path: Path, tracks: int, width: int) -> np.ndarray:
    """Write random sketches [N, k] int8 to disk; returns them memory-mapped."""
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(path, "w+", np.int8, (tracks, width))
    for start in range(0, tracks, STEP):
        rows[start : start + STEP] = rng.integers(-127, 128, rows[start : start + STEP].shape, dtype=np.int8)
    rows.flush()
    del rows
    return np.load(path, mmap_mode="r")


def measure_cases(tracks: int, width: int, folder: Path) -> list[dict[str, float | int | str]]:
    """Median seconds and memory, a row a case."""
    rng = np.random.default_rng(1)
    rows = make_sketches(folder / "sketches.npy", tracks, width)
    scale = np.ones(tracks, np.float32)
    clip = rng.standard_normal((PARTS, width)).astype(np.float32)
    cohort = rng.standard_normal((CLIPS, width)).astype(np.float32)
    exact = rng.standard_normal((CLIPS, tracks))
    search, judge = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        multiply_sketches(rows, scale, clip)
        search.append(time.perf_counter() - began)
    for _ in range(2):
        began = time.perf_counter()
        Estimator.fit(exact, multiply_sketches(rows, scale, cohort), cohort, np.linalg.norm(cohort, axis=1))
        Normalisation.fit(exact)
        judge.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    computed = (rows.nbytes + tracks * (4 + 8 + 8 * CLIPS) + 8 * tracks * PARTS) / 1e6
    shared = {"tracks": tracks, "width": width, "computed_mb": round(computed), "memory_mb": round(peak)}
    cases = (("search", search), ("judge", judge))
    return [{"case": name, **shared, "seconds": round(statistics.median(times), 3)} for name, times in cases]


def main() -> int:
    parser = argparse.ArgumentParser(description=WHAT)
    parser.add_argument("--tracks", type=int, default=115_000)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--out", type=Path, default=ROOT / "assets/benchmarks/index.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_cases(options.tracks, options.width, Path(folder))
    write_result(options.out, WHAT, "python assets/benchmarks/bench_index.py", describe_hardware(), rows, REPEATS)
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    slow = [row for row in rows if row["case"] == "search" and row["seconds"] > MOST_SEARCH_S]
    print("too slow" if slow else f"search within {MOST_SEARCH_S} s", file=sys.stderr if slow else sys.stdout)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
