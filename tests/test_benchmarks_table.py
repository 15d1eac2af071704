"""README's table is what the benchmarks kept, to the letter."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "assets/benchmarks"


def load():
    spec = importlib.util.spec_from_file_location("benchmark_table", FOLDER / "table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = load()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def row(case: str, **values) -> dict:
        return {"case": case, **values}

    rows = [row(f"Q = {q}", clips=q, way_a_ms=10.0 * q, way_c_ms=9.6, **{f"speedup_q{q}": 1.5 * q}) for q in (1, 64)]
    rows += [row(f"a new clip, {w}, computed", tracks=709, seconds=s) for w, s in (("way (a)", 1234), ("way (c)", 567))]
    rows += [row("a new clip, the index, computed", tracks=709, seconds=31.4)]
    rows += [row("a new clip, the index, measured", seconds=38.5)]
    rows += [row(f"rank correlation, {way}", rho_fp64=rho) for way, rho in (("(a) fp32", 0.9987), ("(c) fp32", 1.0))]
    rows += [row("rank correlation, (c) bf16", rho_fp64=0.9961)]
    rows += [row(f"peak memory, way ({way}), Q = 64", peak_mb=mb) for way, mb in (("a", 700), ("c", 2100))]
    rows += [row("share of the matmul rate, way (c)", share=0.71)]
    kept = {"what": "", "command": "make bench", "hardware": "two cores", "commit": "c", "repeats": 3, "rows": rows}
    (tmp_path / "pass.json").write_text(json.dumps(kept))
    peers = [row("whence", ms_a_row=12.5, rho_fp64=1.0, proved=True, peak_mb=800)]
    peers += [
        row("dattri", result="could not be installed: no wheel"),
        row("x", ms_a_row=1, rho_fp64=0.5, proved=False),
    ]
    peers[-1]["peak_mb"] = 1
    (tmp_path / "peers.json").write_text(json.dumps({**kept, "command": "make bench-peers", "rows": peers}))
    gpu = {"device": "h100", "frames": 1024, "track_s": 2.5, "share": 0.6, "compiled": True}
    gpu |= {"projected_hours_115k": 80.0, "paper_hours_115k": 2560.0}
    (tmp_path / "gpu.json").write_text(json.dumps({**kept, "command": "make bench-gpu", "rows": [gpu]}))
    return tmp_path


def test_every_figure_of_the_files_is_in_the_table(folder: Path) -> None:
    text = table.table(table.kept(folder))
    for figure in (
        "| ms a track, 64 clips | 640 | 10 | 96 |",
        "fp32 1, bf16 0.9961",
        "| 700 MB | 2,100 MB |",
        "38.5 s",
    ):
        assert figure in text
    assert "| 1,234 s | 567 s |" in text and "over 709 tracks" in text and "71%" in text and "two cores" in text
    assert "| dattri | could not be installed: no wheel |" in text and "0.5 (not proved)" in text
    assert "| h100, 1,024 frames, compiled | 2.5 | 60% | 80 h (projected) | 2,560 h |" in text
    (folder / "gpu.json").unlink()
    assert "h100" not in table.table(table.kept(folder))


def test_it_goes_between_its_marks_and_nowhere_else(folder: Path) -> None:
    text = table.table(table.kept(folder))
    readme = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    new = table.written(readme, text)
    assert new == f"before\n{table.BEGIN}\n{text}\n{table.END}\nafter\n" and table.written(new, text) == new
    with pytest.raises(ValueError, match="needs these two lines"):
        table.written("no marks", text)


def test_readme_agrees_with_what_is_kept() -> None:
    readme, found = (ROOT / "README.md").read_text(encoding="utf-8"), table.kept(FOLDER)
    if table.BEGIN not in readme and "pass" not in found:
        pytest.skip("make bench has not been run yet")
    assert table.written(readme, table.table(found)) == readme, "run make bench-table"
