"""Self-influence: an unlearned track finds itself; the table on the tiny model; its scores beside unlearning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from precompute.cli.main import main
from precompute.common.cache import Cache
from precompute.config.run import FisherSection, RunConfig, UnlearningSection
from precompute.corpus.intake import load_corpus
from precompute.errors import UserError
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
from precompute.model.diffusion import Items, Model, NoiseBank, load_model
from precompute.pipeline import make_context
from precompute.train.diffusion import measure_mean_loss
from support import tiny
from support.tiny import scores_of_track

TARGETS = [0, 2, 4, 6, 8, 10, 12, 14]


def test_an_unlearned_track_finds_itself(fitted: Model, items: Items) -> None:
    section, bank = UnlearningSection(ascent_draws=32), NoiseBank(4, 4, 1, seed=303)
    curvature = invert_fisher(compute_fisher(fitted, items[:16], "all", FisherSection(draws=4)), 0.1)
    step = UnlearningStep(section, tracks=16)
    steps = torch.stack([step.compute_directions(fitted, items[[i]], curvature, False).sum(1).mean(0) for i in TARGETS])
    trained = range(16)
    scores = torch.stack([scores_of_track(fitted, items[[i]], steps, section, bank).mean(0) for i in trained], dim=1)
    own = scores[range(len(TARGETS)), TARGETS]
    places = (scores > own[:, None]).sum(1) + 1
    assert bool((own > 0).all())
    assert float(places.double().mean()) <= 1.5  # of 16; chance is 8.5


def test_the_fitted_model_tells_tracks_from_decoys_by_their_loss(fitted: Model, items: Items) -> None:
    bank = NoiseBank(2, 4, 1, seed=1)
    losses = [measure_mean_loss(fitted, group, bank) for group in (items[:16], items[16:])]
    assert np.isfinite(losses).all() and losses[0] < losses[1]


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
    found = run.scorer.compute_scores()
    assert len(found) == 4 * 3 * 2 and all(scores.shape == (2, 16) for scores in found.values())
    for way in (
        UnlearningVariant("to_kv", "dual", 1),
        UnlearningVariant("self_attn", "none", 1),
        UnlearningVariant("all", "mixed", 2),
        UnlearningVariant("cross_attn", "dual", 2),
    ):
        step = UnlearningStep(run.scorer.make_section(way), len(run.items))
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
    found = SelfInfluence(context, np.eye(16), [3, 8], options).scorer
    whole = found.compute_scores()[UnlearningVariant("to_kv", "mixed", 1)]
    found.delete_directions()
    next(tmp_path.glob("self-scores-00000-*.npz")).unlink()
    again = SelfInfluence(context, np.eye(16), [3, 8], options).scorer
    assert np.array_equal(again.compute_scores()[UnlearningVariant("to_kv", "mixed", 1)], whole)


def test_measures_by_hand() -> None:
    four = SimpleNamespace(
        chosen=[0, 2],
        embeddings=np.eye(4)[[0, 0, 1, 1]],  # two pairs that are alike
        seconds_of_tracks=np.array([1.0, 2.0, 3.0, 4.0]),
        settings=SelfInfluenceSettings(targets=2, top=1),
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
