"""`evaluate retraining` on the tiny bench: every row comes from the trainings and the scores that it names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precompute.cli.main import main
from precompute.common.cache import Cache
from precompute.config.retraining import RetrainingSection
from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.evaluate.retraining.judgement import evaluate_retraining
from precompute.evaluate.retraining.lds import compute_lds, predict_answers
from precompute.evaluate.retraining.scores import Variant, read_scores
from precompute.evaluate.scoring import ScoringInputs, make_scoring_context
from precompute.gradients.finite_difference import compute_bank_losses
from precompute.gradients.steps import UnlearningStep
from precompute.gradients.weights import add_to_weights, measure_length, restored_weights
from precompute.train.retraining.bench import load_clips, open_bench, train
from precompute.train.retraining.plan import choose_removals, plan_trainings
from precompute.train.retraining.run import REMOVALS, open_ledger
from support.benches import write_bench

METHODS = ("dtrak", "unlearning", "clap", "random")


@pytest.fixture(scope="module")
def judged(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, dict, Path]:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("judged")
    path = write_bench(tiny_root, folder)
    assert main(["retrain", "--config", str(path)]) == 0
    methods = [word for name in METHODS for word in ("--method", name)]
    where = ["--out", str(folder / "lds.json"), "--picture", str(folder / "lds.png")]
    assert main(["evaluate", "retraining", "--config", str(path), *methods, *where]) == 0
    return RunConfig.load(path), json.loads((folder / "lds.json").read_text()), folder


def find(result: dict, **wanted: str) -> list[dict]:  # type: ignore[type-arg]
    return [row for row in result["rows"] if all(row.get(name) == value for name, value in wanted.items())]


def test_every_method_is_judged_by_both_truths(judged: tuple[RunConfig, dict, Path]) -> None:  # type: ignore[type-arg]
    _, result, folder = judged
    for truth in ("whole_masked", "noisy_masked"):
        assert [row["method"] for row in find(result, truth=truth, setting="")] == list(METHODS)
    for row in result["rows"]:
        assert row["low"] <= row["lds"] <= row["high"] and -1 <= row["lds"] <= 1
        # unlearning is the default here, with which the others are compared
        assert row["method"] != "unlearning" or row["setting"] or "difference" not in row
    assert find(result, method="clap")[0]["reliability"] is None
    assert -1 <= find(result, method="dtrak")[0]["reliability"] <= 1
    assert {row["value"] for row in find(result, setting="mask", method="unlearning")} == {"none", "mixed", "dual"}
    assert (folder / "lds.png").stat().st_size > 1000


def test_a_row_is_what_a_loop_over_the_kept_files_gives(judged: tuple[RunConfig, dict, Path]) -> None:  # type: ignore[type-arg]
    config, result, _ = judged
    bench = open_bench(config)
    answers, scores = open_ledger(bench).read(), read_scores(bench.results / "scores.npz")
    trainings = [one for one in plan_trainings(bench.tracks, bench.section) if one.name.startswith("half")]
    halves = [one for one in trainings if not one.name.endswith("again")]
    copies = np.array([track.training_weight for track in bench.tracks])
    for name in METHODS:
        predicted = predict_answers(scores[name], [one.rows for one in halves], copies)
        losses = np.array([answers[one.name]["whole_masked"] for one in halves])
        [row] = find(result, method=name, setting="", truth="whole_masked")
        assert row["lds"] == pytest.approx(compute_lds(-losses, predicted).mean(), abs=0.15)  # half precision may swap


def test_a_mask_changes_scores_and_the_configured_one_is_the_plain_row(
    judged: tuple[RunConfig, dict, Path],  # type: ignore[type-arg]
) -> None:
    config, _, _ = judged
    scores = read_scores(Path(config.retraining.results) / "scores.npz")
    assert np.array_equal(scores["unlearning"], scores["unlearning mask=mixed"])
    for method in ("unlearning", "dtrak"):
        assert not np.array_equal(scores[f"{method} mask=none"], scores[f"{method} mask=dual"])


def test_settings_are_chosen_and_reported_on_different_halves(
    judged: tuple[RunConfig, dict, Path],  # type: ignore[type-arg]
) -> None:
    config, result, _ = judged
    more = replace(config, retraining=replace(config.retraining, halves=4))
    assert more == config
    assert not find(result, trainings="even")  # two of four halves are too few to choose by
    assert Variant("dtrak", "damping", "1.0").configure(config).methods.settings["dtrak"].damping == 1.0
    assert Variant("unlearning", "damping", "1.0").configure(config).fisher.damping == 1.0
    low = Variant("unlearning", "t_low", "0.75").configure(config)
    assert low.bank.t_low == low.unlearning.t_low == 0.75


def test_real_steps_are_differences_of_losses_at_stepped_weights(judged: tuple[RunConfig, dict, Path]) -> None:  # type: ignore[type-arg]
    """One step against weights that are stepped by hand; a short step is the first-order score."""
    config, _, _ = judged
    bench = open_bench(config)
    scores = read_scores(bench.results / "scores.npz")
    clips = load_clips(bench)
    model = train(bench, plan_trainings(bench.tracks, bench.section)[0])
    inputs = ScoringInputs(bench.tracks, bench.items, clips[[1]], cohort=clips[[0, 1]])
    context = make_scoring_context(model, inputs, config, Cache(Path(config.output.work) / "cache"))
    section, bank = config.unlearning, context.bank
    step = UnlearningStep(section, 16)
    direction = step.compute_one_step(model, clips[[1]], context.load_inverse_fisher(), False)[:, 0].mean(0)
    parameters = model.parameters("all")
    factor = 0.01 * float(measure_length(parameters)) / float(direction.double().norm())
    before = compute_bank_losses(model, bench.items, section, bank)
    with restored_weights(parameters):
        add_to_weights(parameters, direction, factor)
        after = compute_bank_losses(model, bench.items, section, bank)
    wanted = (np.array(after) - before) / factor
    half_precision = 2e-3 * np.ptp(wanted)
    assert scores["unlearning real steps=1 of 0.01"][1] == pytest.approx(wanted, abs=half_precision)
    assert np.corrcoef(scores["unlearning real steps=1 of 0.001"][1], scores["unlearning"][1])[0, 1] > 0.9
    assert not np.allclose(scores["unlearning real steps=4 of 0.01"], scores["unlearning real steps=1 of 0.01"])


def test_a_dear_method_is_judged_on_some_clips(judged: tuple[RunConfig, dict, Path], tmp_path: Path) -> None:  # type: ignore[type-arg]
    config, _, _ = judged
    before = (Path(config.retraining.results) / "scores.npz").read_bytes()
    result = evaluate_retraining(config, tmp_path / "few.json", ("random", "clap"), clips=2)
    assert "on 2 clips" in result["what"]
    assert (Path(config.retraining.results) / "scores.npz").read_bytes() == before
    bench = open_bench(config)
    answers, scores = open_ledger(bench).read(), read_scores(bench.results / "scores.npz")
    halves = [one for one in plan_trainings(bench.tracks, bench.section) if one.name.startswith("half")]
    halves = [one for one in halves if not one.name.endswith("again")]
    predicted = predict_answers(scores["clap"], [one.rows for one in halves], np.ones(len(bench.tracks)))
    losses = np.array([answers[one.name]["whole_masked"] for one in halves])
    wanted = compute_lds(-losses, predicted)[[0, 2]].mean()
    assert find(result, method="clap", truth="whole_masked")[0]["lds"] == pytest.approx(wanted, abs=0.15)


def test_too_few_trainings_are_refused(tiny_root: Path, tmp_path: Path) -> None:
    path = write_bench(tiny_root, tmp_path)
    with pytest.raises(UserError, match="0 halves are trained, 4 are needed"):
        evaluate_retraining(RunConfig.load(path), tmp_path / "out.json", METHODS)
    with pytest.raises(UserError, match="nonsense: unknown; known are unlearning"):
        evaluate_retraining(RunConfig.load(path), tmp_path / "out.json", ["nonsense"])
    with pytest.raises(UserError, match="--clips -1: must be 0"):
        evaluate_retraining(RunConfig.load(path), tmp_path / "out.json", METHODS, clips=-1)
    assert not (tmp_path / "out.json").exists()


def test_the_first_works_of_each_method_are_removed_and_the_clips_asked_again(
    judged: tuple[RunConfig, dict, Path],  # type: ignore[type-arg]
) -> None:
    config, _, folder = judged
    bench = open_bench(config)
    path = bench.results / REMOVALS
    removals, scores = json.loads(path.read_text()), read_scores(bench.results / "scores.npz")
    names = [f"without-{method}-{clip:02d}" for clip in (0, 2) for method in ("dtrak", "clap", "random")]
    assert list(removals) == names and all(len(works) == 3 for works in removals.values())
    strongest = np.argsort(-scores["dtrak"][2], kind="stable")[:3]
    assert removals["without-dtrak-02"] == sorted(bench.tracks[i].work_id for i in strongest)
    collections = [
        sorted(t.collection for t in bench.tracks if t.work_id in removals[f"without-{method}-02"])
        for method in ("dtrak", "random")
    ]
    assert collections[0] == collections[1]
    assert not set(removals["without-dtrak-02"]) & set(removals["without-random-02"])
    before = path.read_bytes()
    assert main(["retrain", "--config", str(folder / "run.toml")]) == 0
    result = evaluate_retraining(config, folder / "removals.json", METHODS)
    assert path.read_bytes() == before  # fixed once
    rows = {(row["measure"], row["method"]): row for row in result["removals"]}
    assert {method for _, method in rows} == {"dtrak", "clap", "random"}
    assert {measure for measure, _ in rows} == {"whole_masked", "noisy_masked", "latent_distance", "clap_similarity"}
    answers = open_ledger(bench).read()
    change = [
        answers[f"without-dtrak-{q:02d}"]["whole_masked"][q] - answers["full-0"]["whole_masked"][q] for q in (0, 2)
    ]
    assert rows["whole_masked", "dtrak"]["change"] == pytest.approx(np.mean(change))
    random = [
        answers[f"without-random-{q:02d}"]["whole_masked"][q] - answers["full-0"]["whole_masked"][q] for q in (0, 2)
    ]
    assert rows["whole_masked", "dtrak"]["beyond_random"] == pytest.approx(np.mean(change) - np.mean(random))
    assert answers["full-0"]["latent_distance"] == pytest.approx([0.0] * 5, abs=0.05)  # clips are kept in 8 bits


def test_a_method_without_scores_cannot_be_removed_by(tracks: list[Track]) -> None:
    section = RetrainingSection(removal_methods=("dtrak",), removal_clips=1)
    with pytest.raises(UserError, match="removal_methods: dtrak has no scores"):
        choose_removals(tracks, section, {})
