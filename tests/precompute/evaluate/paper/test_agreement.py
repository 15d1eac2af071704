"""The paper's two experiments on the tiny model: what they print, keep, and compute again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from precompute.cli.main import main
from precompute.common.cache import Cache
from precompute.config.run import RunConfig
from precompute.corpus.intake import load_corpus
from precompute.errors import UserError
from precompute.evaluate.paper import agreement
from precompute.evaluate.paper.self_influence import (
    SelfInfluence,
    SelfInfluenceSettings,
    choose_targets,
    load_clap_embeddings,
)
from precompute.evaluate.paper.self_scores import UnlearningVariant
from precompute.gradients.context import make_noise_bank
from precompute.gradients.fisher import compute_fisher, invert_fisher
from precompute.gradients.steps import UnlearningStep
from precompute.methods.catalogue import CATALOGUE
from precompute.model.diffusion import load_model
from precompute.pipeline import make_context
from support import tiny

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def small(tiny_root: Path) -> Path:
    """A config with few draws."""
    path = tiny.write_run(tiny_root, tiny_root / "judged", checkpoints='""')
    run = '\n[bank]\nreplicates = 2\nstrata = 2\n[methods]\nrun = ["unlearning", "influence", "random"]\n'
    path.write_text(path.read_text() + run)
    return path


def test_self_influence_table(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = small.parent / "work" / "cache"
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
        assert row["steps"] == 2 or (row["frechet"] >= 0 and row["frechet_before"] >= 0)
    paper = {(r["layers"], r["mask"]): r["paper_R"] for r in kept["rows"] if "paper_R" in r}
    assert paper == {("to_kv", "mixed"): 103.2, ("all", "none"): 6615.7, ("all", "mixed"): 1.0, ("all", "dual"): 1.0}
    steps = [row["relative_step"] for row in kept["finite_differences"]]
    assert steps == [1e-5, 1e-4, 1e-3] and max(row["rho"] for row in kept["finite_differences"]) > 0.99
    said = capsys.readouterr().out
    assert "| layers | mask | steps | R | clap_top |" in said and "finite difference, step 1e-05: rho" in said
    assert list(cache.glob("self-scores-*.npz")) and not list(cache.glob("self-direction-*.npz")), "gigabytes"
    seconds = {(row["layers"], row["mask"], row["steps"]): row["seconds"] for row in kept["rows"]}
    assert seconds["all", "mixed", 1] < seconds["all", "mixed", 2]


@pytest.mark.parametrize("normalised", [False, True])
def test_its_scores_are_those_of_unlearning(small: Path, tmp_path: Path, normalised: bool) -> None:
    """All groups, masks and steps by one pass, beside each by itself."""
    config = RunConfig.load(small)
    section = replace(config.unlearning, ascent_draws=4, normalise_timesteps=normalised, window_s=1e9)
    config = replace(config, clips=replace(config.clips, targets=0), unlearning=section)
    corpus, model = load_corpus(config), load_model(config)
    context, _ = make_context(model, corpus, config, Cache(tmp_path))
    context = replace(context, bank=make_noise_bank(config.bank))
    run = SelfInfluence(
        context, load_clap_embeddings(context), [3, 8], SelfInfluenceSettings(targets=2, draws=4, top=3, steps=(1, 2))
    )
    found = run.found.scores()
    assert len(found) == 4 * 3 * 2 and all(scores.shape == (2, 16) for scores in found.values())
    for way in (
        UnlearningVariant("to_kv", "dual", 1),
        UnlearningVariant("self_attn", "none", 1),
        UnlearningVariant("all", "mixed", 2),
        UnlearningVariant("cross_attn", "dual", 2),
    ):
        step = UnlearningStep(run.found.section(way), len(run.items))
        settings = config.fisher
        curvature = invert_fisher(compute_fisher(model, run.items, way.layers, settings), settings.damping)
        rows = tiny.differentiate_track(model, run.items[[5]], step.section, context.bank).mean(0).double()
        directions = [
            step.compute_directions(model, run.targets[[q]], curvature, False).sum(1).mean(0) for q in range(2)
        ]
        assert np.allclose(
            found[way][:, 5], [float(rows @ direction.double()) for direction in directions], rtol=1e-3
        ), way


def test_a_resumed_pass_computes_what_is_missing(small: Path, tmp_path: Path) -> None:
    config = RunConfig.load(small)
    config = replace(config, clips=replace(config.clips, targets=0))
    context, _ = make_context(load_model(config), load_corpus(config), config, Cache(tmp_path))
    options = SelfInfluenceSettings(targets=2, layers=("to_kv",), masks=("mixed",), steps=(1,), draws=4, top=3)
    found = SelfInfluence(context, np.eye(16), [3, 8], options).found
    whole = found.scores()[UnlearningVariant("to_kv", "mixed", 1)]
    found.delete_directions()
    next(tmp_path.glob("self-scores-00000-*.npz")).unlink()
    again = SelfInfluence(context, np.eye(16), [3, 8], options).found
    assert np.array_equal(again.scores()[UnlearningVariant("to_kv", "mixed", 1)], whole)


def test_measures_by_hand() -> None:
    four = SimpleNamespace(
        chosen=[0, 2],
        embeddings=np.eye(4)[[0, 0, 1, 1]],  # two pairs that are alike
        seconds_of_tracks=np.array([1.0, 2.0, 3.0, 4.0]),
        options=SelfInfluenceSettings(targets=2, top=1),
    )
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
    found = SelfInfluence.measure(four, scores)  # type: ignore[arg-type]
    assert found["R"] == (1 + 3) / 2 and found["duration_correlation"] == pytest.approx(-1)
    assert found["clap_top"] == (1 + 0) / 2 and found["clap_bottom"] == (0 + 1) / 2


def test_targets_are_spread_and_differ() -> None:
    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((5, 3))
    points = np.repeat(centres, 6, axis=0) + 0.1 * rng.standard_normal((30, 3))
    chosen = choose_targets(points, 5)
    assert [row // 6 for row in chosen] == [0, 1, 2, 3, 4]
    assert choose_targets(points[:4], 9) == [0, 1, 2, 3]


@pytest.mark.parametrize("changes", [{"targets": 1}, {"layers": ("mlp",)}, {"masks": ("x",)}, {"steps": (0,)}])
def test_senseless_options_are_refused(changes: dict) -> None:
    with pytest.raises(UserError):
        SelfInfluenceSettings(**changes)


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
    rows = {row["method"]: row for row in kept["table"]}
    assert list(rows) == ["unlearning", "influence", "random"] and 0 < kept["decoys_chance"] < 1
    assert rows["influence"]["pearson_raw"] == of_pair["unlearning", "influence", "raw"]["pearson"]
    assert {"decoys_top10_raw", "decoys_top10_norm", "gini_raw", "cost_s"} <= set(rows["random"])
    said = capsys.readouterr().out
    assert "| method | pearson_raw | paper |" in said and "| method | other | pearson_raw | paper |" in said
    assert main([*command, "--method", "nothing"]) == 1
    assert "--method nothing: unknown; known are unlearning" in capsys.readouterr().err


def test_the_papers_figures_stand_beside_unlearning_alone() -> None:
    rows = [
        {"method": "clap", "other": "unlearning", "score": kind, "pearson": value}
        for kind, value in (("raw", 0.3), ("normalised", 0.1))
    ]
    single = [{"method": name, "score": "raw", "gini": 0.5, "cost_s": 1.0} for name in ("clap", "unlearning")]
    clap, unlearning = agreement.summarise(single, rows)
    assert clap == {"method": "clap", "gini_raw": 0.5, "cost_s": 1.0, "pearson_raw": 0.3, "pearson_norm": 0.1}
    assert unlearning == {"method": "unlearning", "gini_raw": 0.5, "cost_s": 1.0}


def test_the_demos_agreement_runs_every_method_but_the_dearest() -> None:
    config = RunConfig.load(REPOSITORY / "precompute/configs/demo-agreement.toml")
    assert set(CATALOGUE) - set(config.methods.run) == {"mucs"}


def test_concentration_by_hand() -> None:
    even, one = np.ones((1, 4)), np.array([[0.0, 0.0, -3.0, 2.0]])
    assert agreement.compute_gini(even) == pytest.approx(0) and agreement.compute_gini(one) == pytest.approx(0.75)
    assert agreement.count_effective_tracks(even) == pytest.approx(4)
    assert agreement.count_effective_tracks(one) == pytest.approx(1) and agreement.count_effective_tracks(-even) == 0
    half = np.array([[1.0, 1.0, 0.0, 0.0]])
    assert agreement.compute_gini(half) == pytest.approx(0.5) and agreement.count_effective_tracks(
        half
    ) == pytest.approx(2)


def test_planted_truths_are_asked_on_clips_of_their_own_prompt_alone() -> None:
    def track(number: int, planted: str = "", **values: object) -> SimpleNamespace:
        return SimpleNamespace(track_id=number, planted=planted, is_decoy=False, caption=f"c{number}", **values)

    tracks = [track(0), track(1, "weighted"), track(2, "twin", matched_to=1)]
    tracks[2].caption = "c1"
    tracks += [track(number) for number in range(3, 15)]
    scores = np.zeros((3, 15))
    scores[0, [1, 2]] = 2, 1  # of the weighted track's prompt: above its twin and first
    scores[1, [1, 2]] = 1, 2  # of another prompt: does not count
    scores[2], scores[2, [1, 2]] = 5, (1, 2)  # of its prompt: below twelve others
    found = agreement.measure(scores, tracks, ["c1", "c0", "c1"])  # type: ignore[arg-type]
    assert found["weighted_above_twin"] == 0.5 and found["weighted_top10"] == 0.5
    assert "weighted_above_twin" not in agreement.measure(scores, tracks, ["c0"] * 3)  # type: ignore[arg-type]
