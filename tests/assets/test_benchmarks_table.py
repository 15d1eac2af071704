"""The tables of assets/README.md are what benchmarks and evaluations kept, to the letter."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "assets/benchmarks"


def load_script():
    spec = importlib.util.spec_from_file_location("benchmark_table", FOLDER / "table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = load_script()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def row(case: str, **values) -> dict:
        return {"case": case, **values}

    rows = [
        row(f"Q = {q}", clips=q, difference_ms=10.0 * q, product_ms=9.6, **{f"speedup_q{q}": 1.5 * q}) for q in (1, 64)
    ]
    rows += [
        row(f"a new clip, {w}, computed", tracks=709, seconds=s)
        for w, s in (("finite difference", 1234), ("gradient product", 567))
    ]
    rows += [row("a new clip, the index, computed", tracks=709, seconds=31.4)]
    rows += [row("a new clip, the index, measured", seconds=38.5)]
    rows += [
        row(f"rank correlation, {way}", rho_fp64=rho)
        for way, rho in (("finite difference fp32", 0.9987), ("gradient product fp32", 1.0))
    ]
    rows += [row("rank correlation, gradient product bf16", rho_fp64=0.9961)]
    rows += [
        row("peak memory, finite difference, Q = 64", peak_mb=700),
        row("peak memory, gradient product, Q = 64", peak_mb=2100),
    ]
    rows += [row("share of the matmul rate, gradient product", share=0.71)]
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
    text = table.format_tables(table.read_results(folder))["benchmarks"]
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
    assert "h100" not in table.format_tables(table.read_results(folder))["benchmarks"]


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
    text = table.format_tables(table.read_results(folder))["experiments"]
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

    rows = [one("rare", "alone_in_top10", "dtrak", "raw", 0.75), one("rare", "alone_in_top10", "clap", "raw", 0)]
    rows += [one("rare", "unheard_alone_in_top10", "dtrak", "normalised", 0.3125)]
    rows += [one("exemplars", "places_gained", "dtrak", "raw", 10.5, low=5.45, high=16.5)]
    rows += [one("weighted", "share_above_twin", "dtrak", "raw", 0.958)]  # stands in the model card
    settings = {"methods": {"dtrak": {}, "clap": {}}}
    result = {"command": "evaluate planted", "hardware": "two cores", "rows": rows, "settings": settings}
    (folder / "demo-planted.json").write_text(json.dumps(result))
    lines = table.format_tables(table.read_results(folder))["planted truths"].splitlines()
    assert lines[:2] == ["`evaluate planted`: two cores.", ""]
    assert lines[2] == "| | dtrak | clap |" and lines[3] == "|---|---|---|"
    assert lines[4].endswith("in the first ten, heard, raw | 75% | 0% |")
    assert lines[5] == "| … a piece of its style that was not heard, normalised | 31% |  |"
    assert lines[6].endswith("within its caption, raw | 10.5 [5.5, 16.5] |  |") and len(lines) == 7


def test_retraining_stands_with_its_ceiling_its_settings_and_its_removals(folder: Path) -> None:
    def one(method: str, truth: str, lds: float, **more: object) -> dict:
        row = {"method": method, "setting": "", "value": "", "truth": truth, "trainings": "all", "lds": lds}
        return {**row, "low": lds - 0.05, "high": lds + 0.05, "reliability": None, "seconds": 12.3, **more}

    rows = [one("dtrak", "whole_masked", 0.31, reliability=0.956), one("dtrak", "noisy_masked", 0.25)]
    less = {"difference": -0.21, "difference_low": -0.3, "difference_high": -0.12}
    rows += [one("clap", "whole_masked", 0.1, **less), one("clap", "noisy_masked", 0.05, **less)]
    rows += [one("dtrak", "whole_masked", 0.2, setting="damping", value="1.0", trainings="even")]
    ceiling = [
        {"truth": "whole_masked", "halves": 8, "correlation": 0.36, "low": 0.2, "high": 0.5, "attainable_lds": 0.6}
    ]
    removal = {"measure": "whole_masked", "method": "dtrak", "clips": 8, "change": 0.02, "low": 0.01, "high": 0.03}
    removal |= {"beyond_random": 0.015, "beyond_low": 0.005, "beyond_high": 0.025, "clips_beyond": 7}
    result = {"what": "LDS", "command": "evaluate retraining", "hardware": "two cores", "rows": rows}
    (folder / "demo-retraining.json").write_text(json.dumps({**result, "ceiling": ceiling, "removals": [removal]}))
    text = table.format_tables(table.read_results(folder))["retraining"]
    assert "| dtrak | 0.31 [0.26, 0.36] | 0.25 [0.2, 0.3] |  | 0.96 | 12 |" in text
    assert "| clap | 0.1 [0.05, 0.15] | 0.05 [0, 0.1] | -0.21 [-0.3, -0.12] |  | 12 |" in text
    assert "agree at 0.36 [0.2, 0.5] over 8 halves (whole schedule)" in text and "would reach 0.60." in text
    assert "| dtrak | damping = 1.0 | even | 0.2 [0.15, 0.25] |  |" in text
    assert "| whole masked | dtrak | 0.02 [0.01, 0.03] | 0.015 [0.005, 0.025] | 7 of 8 |" in text


def test_index_clews_and_page_are_told_with_their_size(folder: Path) -> None:
    run = {"command": "make x", "hardware": "two cores", "repeats": 5}
    recall = {"width": 8192, "bytes_a_track": 8196, "recall": 0.954, "recall_alone": 0.804, "rho": 0.958}
    (folder / "index-recall.json").write_text(json.dumps({**run, "rows": [recall]}))
    search = {"case": "search", "tracks": 115_000, "width": 8192, "seconds": 0.783, "memory_mb": 1519}
    (folder / "index.json").write_text(json.dumps({**run, "rows": [search, {**search, "case": "judge"}]}))
    clews = {"works": 100, "renderings": 300, "map": 0.823, "map_untrained": 0.027, "map_chance": 0.022}
    clews |= {"parameters": 782_663, "size_mb": 1.577}
    (folder / "demo-clews.json").write_text(json.dumps({**run, "trained_works": 900, "rows": [clews]}))
    alone = {"case": "one listener", "kind": "all", "listeners": 1, "think_s": 0.0, "selections": 300, "errors": 0}
    alone |= {"p50_ms": 27.1, "p95_ms": 73.8, "memory_mb": 1243}
    rows = [{"case": "start", "seconds": 2.64, "memory_mb": 287}, alone, {**alone, "kind": "clip", "errors": 3}]
    rows += [{**alone, "case": "many listeners with pauses", "listeners": 20, "think_s": 1.0}]
    (folder / "explorer.json").write_text(json.dumps({**run, "rows": rows}))
    tables = table.format_tables(table.read_results(folder))
    assert "| 8,192 | 8,196 | 95.4% | 80.4% | 0.96 |" in tables["index"]
    assert "| search for one clip | 115,000 | 8,192 | 0.8 | 1,519 MB |" in tables["index"]
    assert "| 100 | 300 | 0.82 | 0.03 | 0.02 | 782,663 | 1.6 MB |" in tables["clews"] and "900 works" in tables["clews"]
    assert "opens 2.6 s after the start of the server, which then takes 287 MB" in tables["explorer"]
    assert "| 1 | none | 300 | 27 ms | 74 ms | 0 | 1,243 MB |" in tables["explorer"]
    assert "| 20 | 1 s | 300 |" in tables["explorer"] and "| 3 |" not in tables["explorer"]


def test_each_goes_between_its_marks_and_nowhere_else(folder: Path) -> None:
    made = table.format_tables(table.read_results(folder))
    begin, end = table.make_marks("benchmarks")
    new = table.insert_tables(f"before\n{begin}\nold\n{end}\nafter\n", made)
    assert new == f"before\n{begin}\n{made['benchmarks']}\n{end}\nafter\n" and table.insert_tables(new, made) == new
    with pytest.raises(ValueError, match="needs these two lines"):
        table.insert_tables("no marks", made)


def test_page_agrees_with_the_results() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.insert_tables(page, table.format_tables(table.read_results(FOLDER))) == page, "run make bench-table"
    names = {name for parts in table.TABLES.values() for name in parts}
    open_ = {"gpu", "demo-retraining"}  # not run; not yet done
    assert names - open_ <= set(table.read_results(FOLDER))
