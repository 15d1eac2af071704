"""The paper's two experiments on the tiny model: what they print, keep, and compute again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny
from precompute.cache import Cache
from precompute.cli import main
from precompute.config import RunConfig
from precompute.errors import UserError
from precompute.evaluate import agreement
from precompute.evaluate.self_influence import Options, Run, clap_embeddings, kmeans_targets
from precompute.pipeline import make_context
from precompute.stages import load_corpus, load_model


@pytest.fixture(scope="module")
def small(tiny_root: Path) -> Path:
    """A config with few draws."""
    path = tiny.write_run(tiny_root, tiny_root / "judged", checkpoints='""')
    run = '\n[bank]\nreplicates = 2\nstrata = 2\n[methods]\nrun = ["unlearning", "influence", "random"]\n'
    path.write_text(path.read_text() + run)
    return path


def test_self_influence_table(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = small.parent / "work" / "cache"
    before = set(cache.glob("direction-*.npz"))
    command = ["evaluate", "self-influence", "--config", str(small), "--out", str(tmp_path / "own.json")]
    options = [
        "--targets",
        "4",
        "--layers",
        "to_kv",
        "all",
        "--steps",
        "1",
        "2",
        "--draws",
        "4",
        "--top",
        "3",
        "--fd",
        "8",
    ]
    assert main(command + options) == 0
    kept = json.loads((tmp_path / "own.json").read_text())
    ways = {(row["layers"], row["mask"], row["steps"]) for row in kept["rows"]}
    assert len(kept["rows"]) == len(ways) == 2 * 3 * 2
    for row in kept["rows"]:
        assert 1 <= row["R"] <= 16 and row["tracks"] == 16 and row["seconds"] > 0
        assert -1 <= row["clap_bottom"] <= 1 and -1 <= row["duration_correlation"] <= 1
        assert row["frechet"] >= 0 and row["frechet_before"] >= 0
    paper = {(r["layers"], r["mask"]): r["paper_R"] for r in kept["rows"] if "paper_R" in r}
    assert paper == {("to_kv", "mixed"): 103.2, ("all", "none"): 6615.7, ("all", "mixed"): 1.0, ("all", "dual"): 1.0}
    steps = [row["relative_step"] for row in kept["finite_differences"]]
    assert steps == [1e-5, 1e-4, 1e-3] and max(row["rho"] for row in kept["finite_differences"]) > 0.99
    said = capsys.readouterr().out
    assert "| layers | mask | steps | R | clap_top |" in said and "finite difference, step 1e-05: rho" in said
    assert set(cache.glob("direction-*.npz")) == before, "gigabytes are not left behind"


def test_its_scores_are_those_of_unlearning(small: Path, tmp_path: Path) -> None:
    config = RunConfig.load(small)
    config = replace(config, clips=replace(config.clips, targets=0))
    corpus, model = load_corpus(config), load_model(config)
    context, _ = make_context(model, corpus, config, Cache(tmp_path))
    run = Run(context, clap_embeddings(context)[context.trained], [3, 8], Options(targets=2, draws=4, top=3))
    tap = run.tap("to_kv", "dual", 1)
    tap.prepare()
    method = tap_method(run)
    rows = method.gradients(model, run.items[[5]], context.bank)
    found = tap.take(rows, torch.zeros(1))["scores"]
    steps = [method.directions(model, run.targets[[q]], own_inverse(run), False).sum(1).mean(0) for q in range(2)]
    wanted = [float(rows.mean(0).double() @ step.double()) for step in steps]
    assert np.allclose(found, wanted, rtol=1e-4)


def tap_method(run: Run):
    from precompute.methods.unlearning import Unlearning

    return Unlearning(run.section("to_kv", "dual", 1), len(run.items))


def own_inverse(run: Run) -> torch.Tensor:
    from precompute.fisher import diagonal_fisher, inverse

    settings = run.context.config.fisher
    return inverse(diagonal_fisher(run.context.model, run.items, "to_kv", settings), settings.damping)


def test_measures_by_hand() -> None:
    four = SimpleNamespace(
        chosen=[0, 2],
        embeddings=np.eye(4)[[0, 0, 1, 1]],  # two pairs that are alike
        seconds_of_tracks=np.array([1.0, 2.0, 3.0, 4.0]),
        options=Options(targets=2, top=1),
    )
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
    found = Run.measures(four, scores)  # type: ignore[arg-type]
    assert found["R"] == (1 + 3) / 2 and found["duration_correlation"] == pytest.approx(-1)
    assert found["clap_top"] == (1 + 0) / 2 and found["clap_bottom"] == (0 + 1) / 2


def test_targets_are_spread_and_differ() -> None:
    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((5, 3))
    points = np.repeat(centres, 6, axis=0) + 0.1 * rng.standard_normal((30, 3))
    chosen = kmeans_targets(points, 5)
    assert [row // 6 for row in chosen] == [0, 1, 2, 3, 4]
    assert kmeans_targets(points[:4], 9) == [0, 1, 2, 3]


@pytest.mark.parametrize("changes", [{"targets": 1}, {"layers": ("mlp",)}, {"masks": ("x",)}, {"steps": (0,)}])
def test_senseless_options_are_refused(changes: dict) -> None:
    with pytest.raises(UserError):
        Options(**changes)


def test_agreement_table_and_picture(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "agreement", "--config", str(small), "--out", str(tmp_path / "agreement.json")]
    assert main([*command, "--clips", "4", "--picture", str(tmp_path / "agreement.png")]) == 0
    kept = json.loads((tmp_path / "agreement.json").read_text())
    pairs = [row for row in kept["rows"] if "other" in row]
    single = [row for row in kept["rows"] if "gini" in row]
    assert len(pairs) == 3 * 2 and len(single) == 3 * 2 and kept["skipped"] == []
    of_pair = {(row["method"], row["other"], row["score"]): row for row in pairs}
    assert of_pair["unlearning", "influence", "raw"]["pearson"] > abs(of_pair["unlearning", "random", "raw"]["pearson"])
    assert all(0 <= row["gini"] <= 1 and 1 <= row["effective_tracks"] <= 16 for row in single)
    assert (tmp_path / "agreement.png").stat().st_size > 1000
    assert "| method | score | gini |" in capsys.readouterr().out
    assert main([*command, "--method", "nothing"]) == 1
    assert "--method nothing: unknown; known are unlearning" in capsys.readouterr().err


def test_concentration_by_hand() -> None:
    even, one = np.ones((1, 4)), np.array([[0.0, 0.0, -3.0, 2.0]])
    assert agreement.gini(even) == pytest.approx(0) and agreement.gini(one) == pytest.approx(0.75)
    assert agreement.effective_tracks(even) == pytest.approx(4)
    assert agreement.effective_tracks(one) == pytest.approx(1) and agreement.effective_tracks(-even) == 0
    half = np.array([[1.0, 1.0, 0.0, 0.0]])
    assert agreement.gini(half) == pytest.approx(0.5) and agreement.effective_tracks(half) == pytest.approx(2)
