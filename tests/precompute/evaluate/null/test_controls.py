"""Negative controls: the statistics in closed form, fresh models, and the whole on the tiny model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.cli.main import main
from precompute.common.cache import Cache
from precompute.config.run import BankSection, RunConfig
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.evaluate.null import alterations, controls
from precompute.evaluate.null.controls import (
    ControlRows,
    NullSettings,
    evaluate_null,
    is_reversed,
)
from precompute.evaluate.scoring import restrict_config
from precompute.model.diffusion import Items, Model
from support import tiny

METHODS = ("unlearning", "unlearning-gram", "clap")
LEAST = NullSettings(swap_steps=4, captions=2, tracks=12, clips=2, bf16=False)


@pytest.fixture(scope="module")
def small(tiny_root: Path) -> RunConfig:
    """A run with a small bank and cohort."""
    config = RunConfig.load(tiny.write_run(tiny_root, tiny_root / "null"))
    fewer = replace(config.diagnostics, cohort=4)
    return replace(config, bank=BankSection(replicates=2, strata=2), diagnostics=fewer)


@pytest.fixture(scope="module")
def told(small: RunConfig, tiny_root: Path) -> dict:
    """All controls at their smallest."""
    out = tiny_root / "null" / "null.json"
    found = evaluate_null(small, out, METHODS, LEAST)
    assert json.loads(out.read_text()) == found
    return found


# -- statistics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other", "wanted"), [(0.6, 0.4, True), (0.1, 0.9, True), (0.6, 0.55, False)])
def test_two_areas_reverse_on_opposite_sides_of_chance(one: float, other: float, wanted: bool) -> None:
    assert is_reversed(one, other) is wanted


def test_separation_of_hand_made_scores(tracks: list[Track]) -> None:
    above = np.array([[0.0 if t.is_decoy else 1.0 for t in tracks]])
    area, share = ControlRows("m", "c", tracks).measure_separation("", "raw", above, "")
    assert (area["value"], share["value"]) == (1.0, 0.0)
    area, share = ControlRows("m", "c", tracks).measure_separation("", "raw", -above, "")
    assert (area["value"], share["value"]) == (0.0, 1.0)


def test_the_more_numerous_are_thinned_to_the_same_number(tracks: list[Track]) -> None:
    fewer = [*tracks[:16], *tracks[16:24]]
    rows = alterations.choose_matched_rows(fewer)
    assert rows == sorted(set(rows)) and [fewer[r].is_decoy for r in rows] == [False] * 8 + [True] * 8
    assert rows[:8] == list(range(0, 16, 2))
    assert [fewer[r].is_decoy for r in alterations.choose_matched_rows(fewer, 3)] == [False] * 3 + [True] * 3


# -- models and items --------------------------------------------------------------------------------------------


def test_a_fresh_model_is_seeded_and_keeps_the_autoencoder(model: Model) -> None:
    state = torch.get_rng_state()
    one, other, third = (alterations.make_fresh_model(model, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.sha256 == other.sha256 != third.sha256
    assert one.inputs_sha256 not in (one.sha256, model.inputs_sha256)
    for name, value in model.network.state_dict().items():
        if name.startswith("pretransform."):
            assert torch.equal(one.network.state_dict()[name], value)
    trained, fresh = (m.network.model.state_dict() for m in (model, one))
    assert any(not torch.equal(fresh[name], value) for name, value in trained.items())
    assert one.network.pretransform.scale == model.network.pretransform.scale


def test_under_a_clips_caption_only_the_prompt_changes(model: Model, items: Items) -> None:
    changed = alterations.recaption(items, items[[3, 5]], 1)
    assert set(changed.prompts) == {items.prompts[5]}
    assert torch.equal(changed.latents, items.latents) and torch.equal(changed.seconds, items.seconds)
    assert torch.equal(changed.embeddings, model.embed_prompts(changed.prompts))


# -- the whole ---------------------------------------------------------------------------------------------------


def test_every_control_is_told_raw_and_normalised(told: dict) -> None:
    assert {"what", "command", "hardware", "commit", "repeats", "rows", "settings"} <= told.keys()
    names = {(r["method"], r["control"], r["case"], r["score"], r["name"]) for r in told["rows"]}
    wanted = set()
    for method in METHODS:
        for case in ("trained weights", "random weights"):
            wanted |= {(method, "random weights", case, "", name) for name in ("clips_with_finding", "could_fire")}
        for kind in ("raw", "normalised"):
            wanted |= {(method, "roles swapped", "both", kind, name) for name in ("auc_difference", "reverses")}
            wanted.add((method, "caption", "the clip's", kind, "correlation_with_ordinary"))
            for control, case in (
                ("random weights", "trained weights"),
                ("random weights", "random weights"),
                ("roles swapped", "trained on tracks"),
                ("roles swapped", "trained on decoys"),
                ("caption", "own"),
                ("caption", "the clip's"),
            ):
                wanted |= {(method, control, case, kind, name) for name in ("auc", "decoys_top10")}
    assert names == wanted
    assert all(-1 <= r["value"] <= 1 for r in told["rows"])
    assert all(0 <= r["low"] <= r["value"] <= r["high"] <= 1 for r in told["rows"] if r["name"] == "auc")


def test_the_two_trainings_differ_and_are_kept(told: dict, small: RunConfig) -> None:
    areas = {
        (r["case"], r["score"]): r["value"] for r in told["rows"] if r["name"] == "auc" and r["method"] == METHODS[0]
    }
    assert any(areas["trained on tracks", kind] != areas["trained on decoys", kind] for kind in ("raw", "normalised"))
    kept = sorted(path.name for path in (Path(small.output.work) / "null").rglob("*.pt"))
    assert kept == ["decoys.pt", "tracks.pt"]


def test_a_second_run_reads_what_is_kept(
    told: dict, small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precompute.gradients.steps.differentiate", None)  # nothing may be computed anew
    again = evaluate_null(small, tmp_path / "again.json", METHODS, LEAST)
    assert again["rows"] == told["rows"]


def test_captions_move_what_looks_at_the_model_and_nothing_else(
    told: dict, small: RunConfig, model: Model, items: Items, tracks: list[Track], tmp_path: Path
) -> None:
    kept = {(r["method"], r["score"]): r["value"] for r in told["rows"] if r["name"] == "correlation_with_ordinary"}
    assert kept["clap", "raw"] == kept["clap", "normalised"] == pytest.approx(1)
    names, rows = ("unlearning", "clap"), [0, 1, 20, 21]
    run = controls.ControlInputs(
        names,
        restrict_config(small, names, 2),
        Cache(tmp_path),
        model,
        [tracks[r] for r in rows],
        items[rows],
        items,
        [],
    )
    clips, usual = items[[2]], items[[3, 4, 5]]
    own = run.score(model, clips, usual).done
    other = run.score(model, clips, usual, alterations.recaption(run.items, clips, 0)).done
    assert np.array_equal(own["clap"].result.score, other["clap"].result.score)
    same = np.array([item == clips.prompts[0] for item in run.items.prompts])
    assert same.any() and not same.all()
    moved = own["unlearning"].result.score != other["unlearning"].result.score
    assert moved[0, ~same].all()


def test_a_method_is_judged_alike_alone_and_beside_others(told: dict, small: RunConfig, tmp_path: Path) -> None:
    alone = evaluate_null(small, tmp_path / "x.json", ["unlearning"], replace(LEAST, swap_steps=0))
    beside = [r for r in told["rows"] if r["method"] == "unlearning" and r["control"] != "roles swapped"]
    assert alone["rows"] == beside


def test_the_cost_is_told_and_the_trainings_are_the_demos(
    small: RunConfig, told: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_null(small, tmp_path / "x.json", METHODS, LEAST)
    said = capsys.readouterr().out
    assert "this takes about" in said and "two trainings of 4 steps" in said
    assert said.index("this takes about") < said.index("control: random weights")
    training = told["settings"]["training"]
    assert (training["muon_rate"], training["batch"], training["learning_rate"]) == (0.02, 12, 8e-4)


def test_mistakes_are_told(
    small: RunConfig, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="or more"):
        NullSettings(swap_steps=-1)
    with pytest.raises(UserError, match="tracin cannot be judged so: it looks at checkpoints of a training"):
        evaluate_null(small, tmp_path / "x.json", ["tracin"], LEAST)
    folder = replace(small, corpus=replace(small.corpus, manifest="", folder=str(tiny_root / "corpus" / "audio")))
    with pytest.raises(UserError, match="no decoys"):
        evaluate_null(folder, tmp_path / "x.json")
    path = tiny_root / "null" / "run.toml"
    assert main(["evaluate", "null", "--config", str(path), "--method", "guess"]) == 1
    assert "--method guess: unknown; known are unlearning" in capsys.readouterr().err
