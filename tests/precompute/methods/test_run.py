"""Methods run side by side: one that fails is told and skipped; what is done is not done again; agreement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from precompute.cli.main import main
from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.gradients.context import CLIP_KINDS, Context
from precompute.methods import ensemble, random
from precompute.methods import run as runner
from precompute.methods.base import MethodResult
from precompute.methods.catalogue import CATALOGUE, find_class
from precompute.methods.ensemble import average_ranks
from precompute.methods.run import run_methods
from support import tiny
from support.twins import make_context

RUN = ("random", "influence", "trak", "tracin", "ensemble")


@pytest.fixture
def context(config: RunConfig, model, items, tracks, tmp_path: Path) -> Context:
    return make_context(config, model, items, tracks, tmp_path / "cache")


def with_run(context: Context, *names: str) -> Context:
    config = replace(context.config, methods=replace(context.config.methods, run=names))
    return replace(context, config=replace(config, diagnostics=replace(config.diagnostics, checkpoints="")), memo={})


def test_a_method_that_cannot_run_is_told_and_the_others_go_on(context: Context, capsys) -> None:
    outcome = run_methods(with_run(context, *RUN), RUN)
    assert [(done.method_id, done.method.name) for done in outcome.completed] == [
        (1, "random"),
        (2, "influence"),
        (3, "trak"),
        (5, "ensemble"),
    ]
    [(name, label, reason)] = outcome.skipped
    assert (name, label) == ("tracin", "TracIn") and "set [methods.tracin] checkpoints" in reason
    assert f"skipped: tracin: {reason}" in capsys.readouterr().out
    costs = {done.method.name: done.cost_s for done in outcome.completed}
    assert costs["influence"] > costs["random"] >= 0


def test_whatever_a_method_raises_the_others_go_on(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> np.ndarray:
        raise ZeroDivisionError("no way\nsecond line")

    monkeypatch.setattr(random.Random, "_draw_row", broken)
    names = ("influence", "random")
    outcome = run_methods(with_run(context, *names), names)
    assert [done.method.name for done in outcome.completed] == ["influence"]
    assert outcome.skipped == [("random", "Random", "it failed: ZeroDivisionError: no way")]


def test_scores_that_are_not_finite_are_not_taken(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random.Random, "_draw_row", lambda self, kind, row, ids: np.full(len(ids), np.nan))
    names = ("influence", "random")
    outcome = run_methods(with_run(context, *names), names)
    assert outcome.skipped == [("random", "Random", "it failed: ValueError: it gave scores that are not finite")]


def test_where_none_can_run_the_reason_is_raised(context: Context) -> None:
    with pytest.raises(UserError, match="tracin: no checkpoints of the training"):
        run_methods(with_run(context, "tracin"), ("tracin",))


def test_a_second_run_computes_nothing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("random", "influence")
    first = run_methods(with_run(context, *names), names)
    monkeypatch.setattr(random.Random, "compute_scores", None)
    monkeypatch.setattr("precompute.gradients.track_pass.compute_track_gradients", None)
    again = run_methods(with_run(context, *names), names)
    for one, other in zip(first.completed, again.completed, strict=True):
        assert np.array_equal(one.result.cells, other.result.cells) and one.method_id == other.method_id
        assert np.array_equal(one.result.cohort, other.result.cohort)
    assert again.completed[0].cost_s == first.completed[0].cost_s


def test_other_settings_never_meet_old_results(context: Context) -> None:
    one = run_methods(with_run(context, "random"), ("random",)).completed[0].result
    methods = replace(
        context.config.methods, run=("random",), settings={"random": replace(METHOD_SETTINGS["random"], seed=5)}
    )
    context = replace(context, config=replace(context.config, methods=methods))
    other = run_methods(context, ("random",)).completed[0].result
    assert not np.array_equal(one.cells, other.cells)


def test_remarks_and_windows_survive_the_cache() -> None:
    remarks = (("clips_on_the_limit", 2.0, "clips that stopped on the limit"),)
    result = MethodResult(np.ones((1, 2, 1, 1, 1)), np.ones((3, 2)), np.ones((1, 2, 4)), remarks)
    back = runner._unpack_result(runner._pack_result(result))
    assert back.remarks == remarks and np.array_equal(back.windows, result.windows)
    assert runner._unpack_result(runner._pack_result(MethodResult.without_noise(np.ones((4, 2)), 1))).windows is None


# -- the small methods ---------------------------------------------------------------------------------------------


def test_random_scores_are_normal_and_depend_on_clip_and_track_alone(context: Context) -> None:
    result = find_class("random")(METHOD_SETTINGS["random"]).compute_scores(context, {})
    order = [*range(19, -1, -1)]
    turned = replace(context, tracks=[context.tracks[i] for i in order])
    again = find_class("random")(METHOD_SETTINGS["random"]).compute_scores(turned, {})
    assert np.array_equal(again.cells, result.cells[:, order])
    method = random.Random(METHOD_SETTINGS["random"])
    many = np.concatenate(
        [method._draw_row(kind, row, np.arange(2000, dtype=np.uint64)) for kind in CLIP_KINDS for row in (0, 1)]
    )
    assert abs(many.mean()) < 0.04 and abs(many.std() - 1) < 0.03 and len(np.unique(many)) == len(many)


def test_the_ensemble_is_the_mean_of_ranks() -> None:
    cohort = np.array([[0.0, 0.0, 0.0], [2.0, 20.0, 200.0]])  # a track's mean and spread: 1, 10, 100
    result = MethodResult.without_noise(
        np.concatenate([[[3.0, 12.0, 150.0]], cohort]), 1
    )  # z in proportion 2, 0.2, 0.5
    cells, usual = average_ranks(result)
    assert cells[0, :, 0, 0, 0].tolist() == [1.0, -1.0, 0.0] and usual.shape == (2, 3)
    other = MethodResult.without_noise(np.concatenate([[[3.0, 45.0, 135.0]], cohort]), 1)
    method = ensemble.Ensemble(METHOD_SETTINGS["ensemble"])
    both = method.compute_scores(None, {"a": result, "b": other})
    assert both.score.tolist() == [[0.5, 0.0, -0.5]]  # the other: z in proportion 2, 3.5, 0.35


def test_the_ensemble_keeps_replicates_of_methods_that_have_them() -> None:
    rng = np.random.default_rng(0)
    drawn = MethodResult(rng.standard_normal((2, 9, 4, 3, 2)), rng.standard_normal((5, 9)))
    exact = MethodResult.without_noise(rng.standard_normal((7, 9)), 2)
    found = ensemble.Ensemble(METHOD_SETTINGS["ensemble"]).compute_scores(None, {"drawn": drawn, "exact": exact})
    assert found.cells.shape == (2, 9, 4, 1, 2) and found.cohort.shape == (5, 9)
    assert np.abs(found.score).max() <= 1


def test_an_ensemble_of_what_does_not_run_is_refused(context: Context) -> None:
    method = ensemble.Ensemble(replace(METHOD_SETTINGS["ensemble"], of=("trak", "das")))
    assert method.find_obstacle(with_run(context, "trak", "ensemble")) == (
        "[methods.ensemble] of names 'das', which [methods] run does not"
    )


# -- agreement, store, command -------------------------------------------------------------------------------------


def test_a_run_of_several_methods_publishes_all(finished, tmp_path: Path) -> None:
    config = tiny.write_run(finished.root, finished.root / "several", work=f'"{finished.out}/work"', checkpoints='""')
    run = '\n[methods]\nrun = ["unlearning", "influence", "random", "tracin", "ensemble"]\n'
    config.write_text(config.read_text() + run + "[methods.random]\nseed = 9\n")
    assert main(["run", "--config", str(config)]) == 0
    with duckdb.connect(str(finished.root / "several" / "store.duckdb"), read_only=True) as store:
        methods = store.execute("SELECT method_id, name, has_moments, cost_s > 0 FROM methods ORDER BY 1").fetchall()
        assert methods[:2] == [(1, "unlearning", True, True), (2, "influence", True, True)]
        assert [row[:2] for row in methods[2:]] == [(3, "random"), (5, "ensemble")]
        [skipped] = store.execute("SELECT name, reason FROM skipped_methods").fetchall()
        assert skipped[0] == "tracin" and "checkpoints" in skipped[1]
        counts = dict(store.execute("SELECT method_id, count(*) FROM scores GROUP BY 1").fetchall())
        assert counts == dict.fromkeys((1, 2, 3, 5), 7 * 32)
        assert store.execute("SELECT count(*) FROM agreement").fetchone()[0] == 4 * 3
        alike = store.execute("SELECT pearson FROM agreement WHERE method_a = 1 AND method_b = 2").fetchone()[0]
        by_chance = store.execute("SELECT pearson FROM agreement WHERE method_a = 1 AND method_b = 3").fetchone()[0]
        assert alike > 0.4 > abs(by_chance)
        own = store.execute("SELECT DISTINCT std_error FROM scores WHERE method_id = 3").fetchall()
        assert own == [(0.0,)]
        assert dict(store.execute("SELECT method_id, count(*) FROM moments GROUP BY 1").fetchall()) == {1: 9, 2: 9}
        again = store.execute("SELECT * FROM scores WHERE method_id = 1").fetchall()
    assert again == tiny.tables(finished.store)["scores"]  # other methods beside change nothing


def test_the_command_lists_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    said = capsys.readouterr().out
    paragraphs = {part.split(":")[0]: part for part in said.strip().split("\n\n")}
    assert list(paragraphs) == list(CATALOGUE)
    for part in paragraphs.values():
        assert all(f"\n  {what}" in part for what in ("settings [", "cost:", "needs:", "moments: "))
    assert "[unlearning]: layers" in paragraphs["unlearning"] and "seed = 404" in paragraphs["random"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[methods]\nrun = ["unlearn"]', r"\[methods\] 'unlearn': unknown method; known are unlearning"),
        ("[methods]\nrun = []", r"\[methods\] run: must be a list of methods"),
        ('[methods]\nrun = ["trak", "trak"]', r"\[methods\] run: a method stands twice"),
        ("[methods.trak]\nwidht = 3", r"\[methods.trak\] widht: unknown field; known are damping, width"),
        ("[methods.trak]\nwidth = 0", r"\[methods.trak\] width = 0: must be above 0"),
        ("[methods.das]\nsquared = 1", r"\[methods.das\] squared = 1: must be of type bool"),
        ('[methods.das]\noutput = "x"', r"\[methods.das\] output = 'x': choose one of mean, square"),
        ('[methods.ensemble]\nof = "trak"', r"\[methods.ensemble\] of = 'trak': must be a list of texts"),
        ("[methods.unlearning]\nsteps = 2", r"\[methods.unlearning\]: its settings stand in section \[unlearning\]"),
    ],
)
def test_mistakes_in_the_methods_section_name_their_place(tmp_path: Path, text: str, message: str) -> None:
    path = tiny.write_run(tmp_path, tmp_path)
    path.write_text(path.read_text() + "\n" + text + "\n")
    with pytest.raises(UserError, match=message):
        RunConfig.load(path)
