"""The verb `retrain` on the tiny corpus: what is kept, what a kill costs, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precompute.cli.main import main
from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.model.batches import NoiseBank
from precompute.train import loop
from precompute.train.retraining import run
from precompute.train.retraining.bench import Bench, load_clips, measure_losses, open_bench, train
from precompute.train.retraining.ledger import Ledger
from precompute.train.retraining.plan import plan_trainings
from precompute.train.retraining.run import open_ledger, retrain
from support.benches import write_bench


@pytest.fixture
def bench_config(tiny_root: Path, tmp_path: Path) -> RunConfig:
    return RunConfig.load(write_bench(tiny_root, tmp_path))


@pytest.fixture(scope="module")
def done(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A bench whose trainings are all done, by the command line."""
    path = write_bench(tiny_root, tmp_path_factory.mktemp("bench"))
    assert main(["retrain", "--config", str(path)]) == 0
    return RunConfig.load(path)


def read_answers(config: RunConfig) -> dict[str, dict[str, list[float]]]:
    return open_ledger(open_bench(config)).read()


def test_every_training_is_asked_once_and_only_full_models_stay(done: RunConfig) -> None:
    answers, bench = read_answers(done), open_bench(done)
    wanted = [one.name for one in plan_trainings(bench.tracks, bench.section)]
    assert sorted(answers) == sorted(wanted)
    assert {path.name for path in bench.work.iterdir()} == {"full-0"}
    again = {"latent_distance", "clap_similarity"}
    for name, losses in answers.items():
        assert set(losses) - again == {"whole", "noisy", "whole_masked", "noisy_masked"}
        assert (again <= set(losses)) == name.startswith("full")
        assert all(len(values) == 5 and np.isfinite(values).all() for values in losses.values())
    half, again = (np.array(answers[name]["whole"]) for name in ("half-000", "half-000-again"))
    assert np.abs(half - again).max() > 1e-4  # another seed is another training
    assert json.loads((bench.results / "losses.jsonl").read_text().split("\n")[0])["bench"] == bench.key


def test_short_works_are_silent_after_their_end_and_masks_tell(done: RunConfig) -> None:
    bench = open_bench(done)
    short = [row for row, track in enumerate(bench.tracks) if track.duration_s == 0.4]
    assert len(short) == 4  # every fourth of 16 works
    frames = bench.base.frames
    assert frames == 25 and set(bench.items.valid_frames[short].tolist()) == {10}
    silence = bench.base.encode(np.zeros((1, 320), np.float32))
    for row in short:
        after = slice(22, None)  # past what the autoencoder hears at once
        assert (bench.items.latents[row][:, after] - silence[:, after]).abs().max() < 1e-6
    clips = load_clips(bench)
    losses = measure_losses(bench, bench.base, clips)
    is_short = clips.valid_frames.numpy() < frames
    assert is_short.any() and not is_short.all()
    differs = np.abs(np.array(losses["whole"]) - losses["whole_masked"]) > 1e-6
    assert (differs == is_short).all()


def test_losses_are_those_of_a_loop_over_single_draws(done: RunConfig) -> None:
    bench = open_bench(done)
    model = train(bench, plan_trainings(bench.tracks, bench.section)[0])
    clips, section = load_clips(bench), bench.section
    bank = NoiseBank(section.replicates, section.strata, 1, section.bank_seed)
    losses = measure_losses(bench, model, clips)
    for row in (0, 3):
        whole, noisy = [], []
        for replicate, stratum in bank.cells():
            t, eps = bank.cell(replicate, stratum, (model.latent_channels, model.frames))
            one = clips[[row]]
            loss = float(model.loss(one.latents[0], model.condition(one), t, eps, int(one.valid_frames[0])))
            whole.append(loss)
            noisy += [loss] if stratum >= section.strata // 2 else []
        assert losses["whole_masked"][row] == pytest.approx(np.mean(whole), rel=1e-5)
        assert losses["noisy_masked"][row] == pytest.approx(np.mean(noisy), rel=1e-5)


def test_a_training_that_was_killed_goes_on_and_answers_alike(
    done: RunConfig, bench_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = read_answers(done)

    saves = 0

    def save(payload: object, path: Path) -> None:
        nonlocal saves
        real(payload, path)
        saves += 1
        if saves == 5:  # within the second training, after 8 of its 12 steps
            raise KeyboardInterrupt

    real = loop.save_state
    monkeypatch.setattr(loop, "save_state", save)
    with pytest.raises(KeyboardInterrupt):
        retrain(bench_config)
    assert list(read_answers(bench_config)) == ["full-0"]
    monkeypatch.undo()
    retrain(bench_config)
    answers = read_answers(bench_config)
    for name, losses in wanted.items():
        for kind, values in losses.items():
            assert answers[name][kind] == pytest.approx(values, rel=1e-5), (name, kind)
    before = (Path(bench_config.retraining.results) / "losses.jsonl").read_bytes()
    retrain(bench_config)  # nothing is left to do
    assert (Path(bench_config.retraining.results) / "losses.jsonl").read_bytes() == before


def test_so_many_trainings_as_were_asked_for(bench_config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="--most -1: must be 0"):
        retrain(bench_config, most=-1)
    retrain(bench_config, plan_only=True)
    assert "6 trainings, 0 done" in capsys.readouterr().out
    assert not Path(bench_config.retraining.results).exists()
    retrain(bench_config, most=2)
    assert list(read_answers(bench_config)) == ["full-0", "half-000"]


def test_workers_give_what_one_process_gives(
    done: RunConfig, bench_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "count_workers", lambda device, parameters: 2)
    retrain(bench_config, most=4)
    answers, wanted = read_answers(bench_config), read_answers(done)
    assert len(answers) == 4
    for name, losses in answers.items():
        assert losses["whole"] == pytest.approx(wanted[name]["whole"], rel=1e-5)


@pytest.mark.parametrize("change", [{"steps": 13}, {"depth": 2}, {"learning_rate": 1e-4}])
def test_results_of_other_settings_are_refused(done: RunConfig, change: dict[str, float]) -> None:
    other = replace(done, retraining=replace(done.retraining, **change))
    with pytest.raises(UserError, match="is of another bench"):
        retrain(other)


def test_more_halves_go_on_with_the_same_ledger(done: RunConfig) -> None:
    more = replace(done, retraining=replace(done.retraining, halves=5))
    bench: Bench = open_bench(more)
    names = {one.name for one in plan_trainings(bench.tracks, bench.section)}
    assert names - set(open_ledger(bench).read()) == {"half-004"}


def test_a_window_that_the_model_does_not_hear_is_refused(done: RunConfig) -> None:
    with pytest.raises(UserError, match=r"seconds = 3\.0: the model hears 2 s"):
        open_bench(replace(done, retraining=replace(done.retraining, seconds=3.0)))


def test_a_ledger_that_was_cut_loses_only_its_last_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "losses.jsonl", "key", {"settings": {}})
    ledger.begin()
    ledger.add("one", {"whole": [1.0, 2.0]})
    ledger.add("two", {"whole": [3.0, 4.123456789]})
    text = ledger.path.read_text()
    ledger.path.write_text(text[:-5])
    assert ledger.read() == {"one": {"whole": [1.0, 2.0]}}
    ledger.begin()
    ledger.add("two", {"whole": [3.0, 4.123456789]})
    assert ledger.path.read_text() == text
    assert ledger.read()["two"] == {"whole": [3.0, 4.123457]}
    with pytest.raises(UserError, match="another bench"):
        Ledger(ledger.path, "other", {}).read()
    ledger.path.write_text("no json\n")
    with pytest.raises(UserError, match="is no ledger"):
        ledger.read()
