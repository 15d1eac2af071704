"""README's tables are what benchmarks and evaluations kept, to the letter."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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
    text = table.tables(table.kept(folder))["benchmarks"]
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
    assert "h100" not in table.tables(table.kept(folder))["benchmarks"]


def test_the_papers_figures_stand_beside_ours(folder: Path) -> None:
    own = {"layers": "all", "mask": "mixed", "clap_top": 0.581, "clap_bottom": 0.6}
    rows = [
        {**own, "steps": 1, "R": 1.55, "paper_R": 1.0, "paper_top": 0.66, "paper_bottom": 0.26},
        {**own, "steps": 4, "R": 54.5},
        {**own, "layers": "to_kv", "steps": 1, "R": 8, "frechet_before": 0.0691, "frechet": 0.0693},
    ]
    kept = {"command": "evaluate x --fd 16", "hardware": "two cores", "rows": rows, "seconds": 942}
    kept |= {"settings": {"targets": 40}}
    (folder / "demo-self-influence.json").write_text(json.dumps(kept))
    both = {"decoys_top10": (0.53, 0.5), "auc": (0.65, 0.51), "weighted_above_twin": (0.75, 0.6875)}
    both |= {"between_clips": (0.16, 0.02)}
    row = {f"{name}_{kind}": v for name, pair in both.items() for kind, v in zip(("raw", "norm"), pair, strict=True)}
    own = [{"method": "unlearning", "cost_s": 480.2, **row, "weighted_top10_raw": 1, "weighted_top10_norm": 0.5}]
    own += [{"method": "clap", "cost_s": 30, **row, "pearson_raw": 0.123, "paper": 0.46}]
    kept |= {"table": own, "decoys_chance": 0.2, "weighted_clips": 8}
    (folder / "demo-agreement.json").write_text(json.dumps(kept))
    text = table.tables(table.kept(folder))["experiments"]
    assert "`evaluate x --fd 16`: 40 tracks; two cores; 16 min." in text
    assert "| all, mixed | 1.6 | 54.5 | 1.0 | 0.58 / 0.60 | 0.66 / 0.26 |  |" in text
    assert "| to_kv, mixed | 8.0 |  |  | 0.58 / 0.60 |  | 0.069, 0.069 |" in text
    judged = "0.16, 0.02 | 53%, 50% | 0.65, 0.51 | 75%, 69%"
    assert "(chance 20%)" in text and "above twin, 8 clips |" in text
    assert f"| unlearning |  |  | {judged} | 100%, 50% | 480 |" in text
    assert f"| clap | 0.12 | 0.46 | {judged} |  | 30 |" in text


def test_planted_truths_are_a_column_for_each_method(folder: Path) -> None:
    def one(truth: str, name: str, method: str, score: str, value: float, **more: float) -> dict:
        return {"truth": truth, "name": name, "method": method, "score": score, "value": value, **more}

    names = {"weighted": "share_above_twin", "rare": "hits_in_top10", "exemplars": "mean_rank"}
    rows = [
        one(truth, name, "random", "", chance)
        for (truth, name), chance in zip(names.items(), (0.5, 0.129, 196), strict=True)
    ]
    rows += [one("weighted", "share_above_twin", "dtrak", "raw", 0.958, low=0.875, high=1)]
    rows += [one("rare", "hits_in_top10", "dtrak", "normalised", 3.5)]
    rows += [one("rare", "auc_over_unheard", "random", "", 0.5)]
    rows += [one("rare", "auc_over_unheard", "clap", "raw", 0.75), one("rare", "p_value", "clap", "raw", 0.0623)]
    settings = {"methods": {"dtrak": {}, "clap": {}}, "rivals": 32}
    (folder / "demo-planted.json").write_text(json.dumps({"rows": rows, "settings": settings}))
    lines = table.tables(table.kept(folder))["planted truths"].splitlines()
    assert lines[0] == "| | dtrak | clap | chance |" and lines[1] == "|---|---|---|---|"
    assert lines[2] == "| weighted track above its twin, raw | 96% [88, 100] |  | 50% |"
    assert lines[5] == "| rare tracks among the first ten, normalised | 3.5 |  | 0.13 |"
    assert lines[6] == "| rare track above an unheard one of its style, raw |  | 75% (p 0.062) | 50% |"
    assert lines[8] == "| an exemplar among the training tracks: mean place, raw |  |  | 196.0 |" and len(lines) == 10


def test_each_goes_between_its_marks_and_nowhere_else(folder: Path) -> None:
    made = table.tables(table.kept(folder))
    begin, end = table.marks("benchmarks")
    new = table.written(f"before\n{begin}\nold\n{end}\nafter\n", made)
    assert new == f"before\n{begin}\n{made['benchmarks']}\n{end}\nafter\n" and table.written(new, made) == new
    with pytest.raises(ValueError, match="needs these two lines"):
        table.written("no marks", made)


def test_readme_agrees_with_what_is_kept() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.written(readme, table.tables(table.kept(FOLDER))) == readme, "run make bench-table"
