"""A run whose store also holds clips of the tuned model, attributed in a pass of their own."""

from __future__ import annotations

import contextlib
import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile

from precompute.cli.main import main
from precompute.common import seeds
from precompute.config.run import ExemplarsSection, RunConfig
from precompute.corpus.intake import load_corpus
from precompute.errors import UserError
from precompute.evaluate.calibration import evaluate_calibration
from precompute.exemplars.files import load_exemplars, save_exemplars
from precompute.exemplars.low_rank import apply_update
from precompute.exemplars.tuned_pass import plan_tuned_pass
from precompute.model.diffusion import Model, load_model
from precompute.train.exemplars import ExemplarSettings, make_exemplars
from precompute.train.lora import freeze_matrices
from support import tiny
from support.tuned import make_exemplars_of, make_random_update

IDS = [17, 18]
SECTION = """
[methods]
run = ["unlearning", "tracin", "random"]
default = "random"
[exemplars]
update = "{update}"
clips = 2
cohort = 4
replicates = 2
strata = 2
ascent_draws = 2
"""


@dataclass(frozen=True)
class TunedRun:
    """A run with exemplars that is done."""

    config: Path
    store: Path
    cache: Path
    out: Path
    text: str  # what it printed


def rows(store: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def run_again(config: Path) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["run", "--config", str(config)]) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def tuned(finished) -> TunedRun:
    """`precompute run` beside the finished run, whose cache it takes over."""
    out = finished.root / "tuned"
    shutil.copytree(finished.out / "work", out / "work")
    update = out / "exemplars.safetensors"
    config = tiny.write_run(finished.root, out)
    settings = ExemplarSettings(rank=2, steps=4, draws=2, check_every=4, clips=1)
    make_exemplars(RunConfig.load(config), update, IDS, settings)
    config.write_text(config.read_text() + SECTION.format(update=update))
    return TunedRun(config, out / "store.duckdb", out / "work" / "cache", out, run_again(config))


def test_the_second_run_is_of_the_tuned_weights(tuned: TunedRun, model: Model) -> None:
    made = rows(tuned.store, "SELECT run_id, model_note, model_sha256, config_toml FROM runs ORDER BY run_id")
    assert [row[0] for row in made] == [1, 2] and made[0][1] is None
    assert made[1][1] == ("tuned by low-rank updates on two recordings that the model never heard: Piece 17, Piece 18")
    with apply_update(model, load_exemplars(tuned.out / "exemplars.safetensors", model).update):
        assert made[1][2] == model.sha256
    assert made[0][2] == model.sha256 != made[1][2] and made[0][3] == made[1][3] == tuned.config.read_text()


def test_its_clips_are_of_the_exemplars_captions_and_sound(tuned: TunedRun) -> None:
    sql = "SELECT clip_id, kind, prompt, seed, duration_s, audio_path, run_id FROM clips WHERE run_id = 2 ORDER BY 1"
    table = rows(tuned.store, sql)
    captions = dict(rows(tuned.store, "SELECT track_id, caption FROM tracks"))
    assert [row[0] for row in table] == [4, 5, 6, 7]
    assert [row[2] for row in table] == [captions[17], captions[17], captions[18], captions[18]]
    assert [row[3] for row in table] == [seeds.EXEMPLAR_CLIPS + number for number in range(4)]
    for _, kind, _, _, duration_s, path, _ in table:
        wave, rate = soundfile.read(tuned.out / "clips" / path)
        assert kind == "generated" and len(wave) == round(duration_s * rate) and 0.001 < np.abs(wave).max() <= 0.801
    assert rows(tuned.store, "SELECT count(*) FROM clips WHERE run_id = 1") == [(3 + 4,)]


def test_exemplars_are_training_tracks_for_their_clips_alone(tuned: TunedRun) -> None:
    sql = """SELECT c.run_id, s.track_id, count(*), count(s.train_rank), max(s.train_rank)
        FROM scores s JOIN clips c USING (clip_id) JOIN methods m USING (method_id)
        WHERE m.name = 'unlearning' AND s.track_id IN (1, 17, 18, 19) GROUP BY ALL ORDER BY ALL"""
    table = {(run_id, track_id): found for run_id, track_id, *found in rows(tuned.store, sql)}
    assert {key: found[1] for key, found in table.items()} == {
        **{(1, 1): 7, (1, 17): 0, (1, 18): 0, (1, 19): 0},
        **{(2, 1): 4, (2, 17): 4, (2, 18): 4, (2, 19): 0},
    }
    assert all(found[0] == (7 if run_id == 1 else 4) for (run_id, _), found in table.items())
    assert rows(tuned.store, "SELECT is_decoy, planted FROM tracks WHERE track_id = 17") == [(True, None)]
    ranked = "SELECT DISTINCT max(train_rank) OVER (PARTITION BY clip_id) FROM scores JOIN clips USING (clip_id)"
    assert rows(tuned.store, f"{ranked} WHERE run_id = 2") == [(18,)]
    assert rows(tuned.store, "SELECT DISTINCT tracks, decoys FROM summaries WHERE clip_id IN (4, 5, 6, 7)") == [
        (18, 14)
    ]


def test_methods_keep_their_ids_and_those_that_follow_the_training_score_run_1_alone(tuned: TunedRun) -> None:
    methods = rows(tuned.store, "SELECT method_id, name, run_id FROM methods ORDER BY method_id")
    assert methods == [(1, "unlearning", 1), (2, "tracin", 1), (3, "random", 1)]
    sql = "SELECT DISTINCT method_id FROM scores JOIN clips USING (clip_id) WHERE run_id = ? ORDER BY 1"
    assert rows(tuned.store, sql.replace("?", "1")) == [(1,), (2,), (3,)]
    assert rows(tuned.store, sql.replace("?", "2")) == [(1,), (3,)]


def test_the_pass_has_tables_of_its_own_and_adds_nothing_to_the_main_run(tuned: TunedRun, finished) -> None:
    own = "clip_id IN (4, 5, 6, 7)"
    assert rows(
        tuned.store, f"SELECT count(*), count(DISTINCT clip_id) FROM score_parts WHERE {own} AND method_id = 1"
    ) == [(4 * 32 * 2, 4)]
    assert rows(tuned.store, f"SELECT count(*) FROM moments WHERE {own} AND method_id = 1") == [(4 * 3,)]
    assert rows(tuned.store, f"SELECT count(*) FROM clip_moments WHERE {own} AND method_id = 1") == [(4 * 32,)]
    assert rows(tuned.store, f"SELECT count(DISTINCT clip_id) FROM match_bins WHERE {own} AND method_id = 1") == [(4,)]
    assert rows(tuned.store, f"SELECT count(DISTINCT clip_id) FROM aspects WHERE {own}") == [(4,)]
    assert rows(tuned.store, "SELECT count(*) FROM track_claims WHERE method_id = 1") == [(32,)]
    for table in ("scores", "track_claims", "diagnostics"):
        where = "method_id = 1" + (" AND clip_id NOT IN (4, 5, 6, 7)" if table == "scores" else "")
        sql = f"SELECT * FROM {table} WHERE {where} ORDER BY ALL"
        assert rows(tuned.store, sql) == rows(finished.store, sql), table


def test_a_second_run_is_all_from_the_cache(tuned: TunedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in tuned.cache.iterdir()}
    tables = tiny.tables(tuned.store)
    monkeypatch.setattr("precompute.gradients.steps.differentiate", None)  # nothing may be computed anew
    run_again(tuned.config)
    assert {path.name: path.stat().st_mtime_ns for path in tuned.cache.iterdir()} == before
    assert tiny.tables(tuned.store) == tables


def test_calibration_counts_the_exemplars_that_are_found(tuned: TunedRun, tmp_path: Path) -> None:
    found = evaluate_calibration(RunConfig.load(tuned.config), tmp_path / "calibration.json")
    counted = {row["method"]: (row["found"], row["of"]) for row in found["power"] if row["planted"] == "exemplar"}
    sql = """SELECT m.name, count(DISTINCT c.clip_id) FILTER (s.above_noise)::INT, count(DISTINCT c.clip_id)::INT
        FROM clips c JOIN scores s USING (clip_id) JOIN methods m USING (method_id) JOIN tracks t USING (track_id)
        WHERE c.run_id = 2 AND s.track_id IN (17, 18) AND t.caption = c.prompt GROUP BY ALL"""
    assert counted == {name: (above, of) for name, above, of in rows(tuned.store, sql)}
    assert set(counted) == {"unlearning", "random"}


def test_check_tells_of_the_pass_and_of_an_update_that_is_not_there(
    tuned: TunedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(tuned.config)]) == 0
    assert "exemplars.safetensors, 2 of each; 4 clips make their cohort" in capsys.readouterr().out
    absent = tmp_path / "run.toml"
    absent.write_text(tuned.config.read_text().replace("exemplars.safetensors", "none.safetensors"))
    assert main(["check", "--config", str(absent)]) == 1
    assert "none.safetensors: not found; [exemplars] update must name a file" in capsys.readouterr().out


def test_the_plan_leaves_the_main_corpus_as_it_is(tuned: TunedRun, model: Model) -> None:
    config = RunConfig.load(tuned.config)
    corpus = load_corpus(config)
    plan = plan_tuned_pass(model, corpus, config, [])
    assert plan is not None and [t.planted for t in plan.corpus.tracks if t.track_id in IDS] == ["exemplar"] * 2
    assert [t.track_id for t in plan.corpus.tracks] == [t.track_id for t in corpus.tracks]
    assert len(plan.corpus.trained) == len(corpus.trained) + 2 and plan.config.clips.cohort == 4
    assert [prompt.clip_id for prompt in plan.prompts] == [1, 2, 3, 4]
    assert plan_tuned_pass(model, corpus, replace(config, exemplars=ExemplarsSection()), []) is None


def test_mistakes_are_told_before_anything_is_computed(config: RunConfig, tmp_path: Path) -> None:
    model, corpus, path = load_model(config), load_corpus(config), tmp_path / "one.safetensors"
    asked = replace(config, exemplars=ExemplarsSection(update=str(path)))
    with pytest.raises(UserError, match="no exemplars here"):
        plan_tuned_pass(model, corpus, asked, [])
    update = make_random_update(freeze_matrices(model), 1)
    save_exemplars(make_exemplars_of(update, model.sha256, (17, 1)), path)
    with pytest.raises(UserError, match="trained on track 1, which is no decoy of this run"):
        plan_tuned_pass(model, corpus, asked, [])
    save_exemplars(make_exemplars_of(update, "0" * 64), path)
    with pytest.raises(UserError, match="other weights"):
        plan_tuned_pass(model, corpus, asked, [])
