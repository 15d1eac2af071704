"""make bench-explorer at a tiny size: the figures are there and nothing fails. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "assets/benchmarks"
SIZES = ["--tracks", "500", "--clips", "3", "--methods", "2"]


@pytest.fixture(scope="module")
def store_of_bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, str(BENCHMARKS / "explorer_store.py"), *SIZES, "--folder", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    path = Path(made.stdout.strip())
    assert path.is_file() and list(folder.iterdir()) == [path], "something was left beside the store"
    before = path.stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert again.stdout == made.stdout and path.stat().st_mtime_ns == before, "a store that is there is used again"
    return path


def test_the_store_is_a_store(store_of_bench):
    from explorer.store import Store

    store = Store(store_of_bench)
    assert len(store.runs.list_methods()) == 2 and len(store.clips.list_scored()) == 3
    scores, summary = store.scores.read_frame(1, 1), store.scores.read_summaries(1)[1]
    assert (summary.tracks, summary.decoys) == (500, 43) and len(scores) == 543
    assert scores["score_norm"].is_monotonic_decreasing and store.scores.read_windows(1, 1) == (7, 1.0)
    assert store.scores.read_windows(2, 1) == (0, 0.0), "only the first method has windows"
    store.close()


def test_first_readers_look_for_no_module(store_of_bench):
    """DuckDB looked for numpy with the first array, and two threads that did so at once hung the server for good."""
    code = (
        "import sys, pathlib\nfrom explorer.store import Store\n"
        "store, asked = Store(pathlib.Path(sys.argv[1])), []\n"
        "class Finder:\n    find_spec = staticmethod(lambda name, *_: asked.append(name))\n"
        "sys.meta_path.insert(0, Finder); store.scores.read_columns(1, 1); store.scores.read_frame(1, 1); print(asked)"
    )
    command = [sys.executable, "-c", code, str(store_of_bench)]
    done = subprocess.run(command, cwd=BENCHMARKS.parents[1], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_every_figure_is_there(store_of_bench, tmp_path):
    out = tmp_path / "explorer.json"
    command = [sys.executable, str(BENCHMARKS / "bench_explorer.py"), *SIZES, "--folder", str(store_of_bench.parent)]
    command += ["--listeners", "2", "--seconds", "1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert set(kept) == {"what", "command", "hardware", "commit", "repeats", "rows"}
    rows = {(row["case"], row.get("kind")): row for row in kept["rows"]}
    assert rows["start", None]["seconds"] > 0 and rows["start", None]["memory_mb"] > 0
    for case in ("one listener", "many listeners, closed loop", "many listeners with pauses"):
        row = rows[case, "all"]
        assert row["errors"] == 0 and row["selections"] > 0 and row["memory_mb"] > 0, row
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["max_ms"], row
    assert rows["part of an answer", "curve"]["max_kb"] < 50
    assert all(f"{case}" in done.stdout for case, _ in rows) and "asked < 4 s" in done.stdout
