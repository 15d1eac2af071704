"""The index: sketches against their naive twin, appending and dropping, refusals, a kill in the middle of writing."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from precompute.cli.main import main
from precompute.config.run import RunConfig
from precompute.index import layout, recall
from precompute.index.calibration import IndexCalibration
from precompute.index.search import Estimator, fold_sketches, multiply_sketches, quantise_sketches
from support import tiny


@pytest.fixture(scope="module")
def made(finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, layout.Index]:
    """An index of all 16 tracks and 16 decoys, on the caches of the finished run."""
    out = tmp_path_factory.mktemp("index")
    path = tiny.write_index_run(finished.root, out, out / "run.index", work=f'"{finished.out}/work"')
    assert main(["index", "--config", str(path)]) == 0
    return RunConfig.load(path), layout.load_index(out / "run.index", check_sketches=True)


def test_search_against_its_naive_twin() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((300, 4096)).astype(np.float32)
    clips = rng.standard_normal((3, 64)).astype(np.float32)
    narrow = fold_sketches(wide, 64)
    for row in range(0, 300, 37):
        assert np.allclose(narrow[row], sum(wide[row, start : start + 64] for start in range(0, 4096, 64)), atol=1e-3)
    sketches, scale = quantise_sketches(narrow)
    assert sketches.dtype == np.int8 and np.abs(sketches).max() == 127
    naive = [[float((sketches[i].astype(float) * float(scale[i])) @ clips[q]) for i in range(300)] for q in range(3)]
    assert np.allclose(multiply_sketches(sketches, scale, clips), naive, rtol=1e-4, atol=1e-3)
    assert np.abs(sketches * scale[:, None] - narrow).max() <= scale.max() * 0.501


def test_a_row_of_zeros_stays() -> None:
    sketches, scale = quantise_sketches(np.zeros((2, 8), np.float32))
    assert not sketches.any() and not scale.any()


def test_an_estimate_is_the_least_squares_line_of_each_track() -> None:
    rng = np.random.default_rng(1)
    exact, lengths, clips = rng.standard_normal((20, 5)), np.ones(20), np.eye(20)  # clips with nothing in common
    sketched = 2 * exact + 0.5 * rng.standard_normal((20, 5))
    sketched[:, 4] = -exact[:, 4]  # a line never falls
    found = Estimator.fit(exact, sketched, clips, lengths)
    for track in range(4):
        slope, offset = np.polyfit(sketched[:, track], exact[:, track], 1)
        assert found.slope[track] == pytest.approx(slope) and found.offset[track] == pytest.approx(offset)
    new = np.zeros((1, 20))
    assert found.slope[4] == 0 and found.estimate(found.correct(sketched[:1], new), lengths[:1])[0, 4] == pytest.approx(
        exact[:, 4].mean()
    )
    longer = Estimator.fit(3 * exact, 3 * sketched, 3 * clips, 3 * lengths)  # a louder gradient changes the scale alone
    scaled = longer.estimate(longer.correct(3 * sketched, 3 * clips), 3 * lengths)
    assert np.allclose(scaled, 3 * found.estimate(found.correct(sketched, clips), lengths))


def test_what_the_sketch_misses_of_the_cohort_is_put_right() -> None:
    """Clips that are combinations of the cohort's: their scores are nearly exact, though the sketch is narrow."""
    rng = np.random.default_rng(5)
    tracks, cohort = rng.standard_normal((50, 4096)), rng.standard_normal((12, 4096))
    rows, clips = fold_sketches(tracks * 1.0, 256), fold_sketches(cohort * 1.0, 256)
    exact, lengths = cohort @ tracks.T, np.linalg.norm(cohort, axis=1)
    found = Estimator.fit(exact, clips @ rows.T, clips, lengths)
    new = 0.6 * cohort[:1] + 0.8 * cohort[1:2]
    corrected = found.correct(fold_sketches(new, 256) @ rows.T, fold_sketches(new, 256))
    before = np.abs(fold_sketches(new, 256) @ rows.T - new @ tracks.T).mean()
    assert np.abs(corrected - new @ tracks.T).mean() < before
    by_hand = []
    for k in range(12):  # a clip from the others, the long way
        rest = np.delete(np.arange(12), k)
        twin = Estimator.fit(exact[rest], (clips @ rows.T)[rest], clips[rest], lengths[rest])
        by_hand.append(np.abs(twin.correct((clips @ rows.T)[[k]], clips[[k]]) - exact[[k]]).mean())
    assert np.mean(by_hand) < 1.1 * np.abs(clips @ rows.T - exact).mean() and (found.residual > 0).all()


def test_rows_hold_exact_cohort_scores_and_sketches_near_them(finished, made) -> None:
    """The cohort's exact scores are those that `run` normalises by."""
    import torch

    from precompute.common.cache import Cache
    from precompute.corpus.intake import load_corpus
    from precompute.methods.run import run_methods
    from precompute.model.diffusion import load_model
    from precompute.pipeline import make_context

    config, index = made
    corpus = load_corpus(config)
    torch.set_num_threads(1)
    cache = Cache(Path(config.output.work) / "cache")
    context, _ = make_context(load_model(config), corpus, config, cache)
    cohort = run_methods(context, ["unlearning"]).completed[0].result.cohort
    assert np.allclose(index.rows.cohort.T, cohort, rtol=1e-4, atol=1e-6 * np.abs(cohort).max())
    sketched = multiply_sketches(index.rows.sketches, index.rows.scale, index.cohort.sketches)
    assert np.corrcoef(sketched.ravel(), cohort.ravel())[0, 1] > 0.9
    assert (index.rows.noise > 0).all() and len(index.rows) == 32 and index.rows.masks.is_decoy.sum() == 16


def test_with_a_perfect_sketch_judging_is_what_a_run_does(finished, made) -> None:
    """Estimates equal to exact scores: normalised scores, ranks and q-values are those of `calibrate_scores`."""
    from precompute.corpus.intake import load_corpus
    from precompute.significance.verdicts import calibrate_scores, fit_normalisation, mask_tracks

    config, index = made
    rng = np.random.default_rng(2)
    judge = IndexCalibration.fit(index)
    one = np.ones(len(index.rows))
    judge = replace(judge, estimator=replace(judge.estimator, slope=one, offset=0 * one, residual=0 * one))
    cells = index.rows.cohort.T[:2, :, None, None, None] + rng.standard_normal((2, 32, 4, 4, 2)) * 1e-12
    places = np.arange(32)
    found = judge.judge_clips(cells.mean((2, 3)).transpose(0, 2, 1), np.ones(2), places, cells)
    masks = mask_tracks(load_corpus(config).tracks)
    wanted = calibrate_scores(cells, fit_normalisation(index.rows.cohort.T, masks), masks)
    assert np.allclose(found.score_norm, wanted.score_norm) and (found.rank == wanted.rank).all()
    assert np.allclose(found.q_value, wanted.q_value) and np.allclose(found.std_error, wanted.std_error)


def test_appended_and_dropped_tracks_leave_the_others_as_they_were(finished, made, tmp_path: Path) -> None:
    """Half of the corpus, then all of it, then another half: each time bit for bit what a fresh index holds."""
    whole = made[1]
    root = tmp_path / "twin"
    shutil.copytree(finished.root / "corpus", root / "corpus")
    shutil.copytree(finished.root / "model", root / "model")
    with (root / "corpus/manifest.csv").open(newline="") as handle:
        lines = list(csv.DictReader(handle))

    def index_of(kept, name: str) -> layout.Index:
        with (root / "corpus/manifest.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, lines[0])
            writer.writeheader()
            writer.writerows(line for line in lines if kept(int(line["track_id"])))
        path = tiny.write_index_run(root, root / name, root / name / "run.index")
        assert main(["index", "--config", str(path)]) == 0
        return layout.load_index(root / name / "run.index", check_sketches=True)

    half = index_of(lambda i: i % 16 < 8, "a")
    # what a fresh index of all tracks would share with it: Fisher and cohort are fixed when an index is first made
    both = index_of(lambda i: True, "a")
    assert both.manifest["files"]["fisher"] == half.manifest["files"]["fisher"]
    assert both.manifest["files"]["cohort"] == half.manifest["files"]["cohort"]
    other = index_of(lambda i: i % 16 >= 8, "a")
    by_id = {int(i): row for row, i in enumerate(both.rows.track_id)}
    for part in (half, other):
        places = np.array([by_id[int(i)] for i in part.rows.track_id])
        for name in (*layout.COLUMNS, "sketches"):
            assert np.array_equal(getattr(part.rows, name), getattr(both.rows, name)[places]), name
    assert len(half.rows) == len(other.rows) == 16 and len(both.rows) == 32
    # the same rows where all were computed in one go
    shutil.rmtree(root / "a" / "run.index")
    fresh = index_of(lambda i: True, "a")
    assert np.array_equal(fresh.rows.sketches, whole.rows.sketches)
    left = sorted(path.name.split("-")[0] for path in (root / "a" / "run.index").iterdir())
    assert left == ["cohort", "fisher", "manifest.json", "sketches", "tracks"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("[bank]\nreplicates = 3", "[bank] replicates = 4, the config says 3"),
        ("draws = 3", "[fisher] draws = 2, the config says 3"),
        ("ascent_draws = 6", "[unlearning] ascent_draws = 4, the config says 6"),
        ("width = 1024", "[index] width = 2048, the config says 1024"),
    ],
)
def test_other_settings_are_refused_in_one_line(finished, made, tmp_path: Path, capsys, line: str, named: str) -> None:
    config, index = made
    text = config.text
    name = line.split(" = ")[0]
    text = text + f"\n{line}\n" if line.startswith("[") else re.sub(rf"^{name} = \d+$", line, text, flags=re.M)
    (tmp_path / "run.toml").write_text(text)
    before = (index.folder / layout.MANIFEST).read_bytes()
    for verb in (["index"], ["attribute", "a low chord"]):
        assert main([*verb, "--config", str(tmp_path / "run.toml")]) == 1
        error = capsys.readouterr().err
        assert named in error and error.count("\n") == 1
    assert (index.folder / layout.MANIFEST).read_bytes() == before


def test_another_model_is_refused_in_one_line(finished, made, tmp_path: Path, capsys) -> None:
    config = made[0]
    state = load_file(config.model.checkpoint)
    save_file({name: value * 1.01 for name, value in state.items()}, tmp_path / "other.safetensors")
    text = config.text.replace(config.model.checkpoint, str(tmp_path / "other.safetensors"))
    (tmp_path / "run.toml").write_text(text)
    for verb in (["index"], ["attribute", "a low chord", "--store", str(finished.store)]):
        assert main([*verb, "--config", str(tmp_path / "run.toml")]) == 1
        error = capsys.readouterr().err
        assert "made with another model" in error and error.count("\n") == 1


def test_a_changed_file_is_refused(made, tmp_path: Path, capsys) -> None:
    config, index = made
    folder = tmp_path / "broken.index"
    shutil.copytree(index.folder, folder)
    (tmp_path / "run.toml").write_text(config.text.replace(str(index.folder), str(folder)))
    fisher = folder / index.manifest["files"]["fisher"]["name"]
    data = bytearray(fisher.read_bytes())
    data[-1] ^= 1
    fisher.write_bytes(data)
    assert main(["index", "--config", str(tmp_path / "run.toml")]) == 1
    assert f"{fisher}: not what the manifest says" in capsys.readouterr().err


def test_a_fault_while_writing_leaves_the_old_index(made, tmp_path: Path, monkeypatch) -> None:
    _, index = made
    folder = tmp_path / "kept.index"
    shutil.copytree(index.folder, folder)
    fewer = layout.IndexRows(**{name: value[:5] for name, value in vars(index.rows).items()})
    fewer = replace(index, folder=folder, rows=fewer)

    write = layout.write_atomically

    def stop(path: Path, content: Any, sync: bool = False) -> None:
        if path.name == layout.MANIFEST:
            raise KeyboardInterrupt
        write(path, content, sync)

    monkeypatch.setattr(layout, "write_atomically", stop)
    with pytest.raises(KeyboardInterrupt):
        layout.save_index(fewer)
    assert len(layout.load_index(folder, check_sketches=True).rows) == 32
    monkeypatch.undo()
    layout.save_index(fewer)
    assert len(layout.load_index(folder, check_sketches=True).rows) == 5 and len(list(folder.iterdir())) == 5


def test_recall_is_one_where_the_shortlist_holds_all_and_the_curve_is_told(finished, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(3)
    rows, clips = rng.standard_normal((60, 2048)).astype(np.float32), rng.standard_normal((12, 2048)).astype(np.float32)
    clips[:, :64] *= 30
    rows[:, :64] *= 30
    train = np.arange(60) < 40
    measured = recall.RecallSample(clips @ rows.T, rows, clips, np.linalg.norm(clips, axis=1), train, ~train)
    points = [recall.measure_recall(measured, width, 60) for width in recall.list_widths(2048)]
    assert [p.recall for p in points] == [1.0] * len(points)
    assert [p.width for p in points] == [512, 1024, 2048]
    few = [recall.measure_recall(measured, width, 15) for width in recall.list_widths(2048)]
    assert few[0].recall_alone <= few[0].recall < 1 and few[0].rho < few[-1].rho and few[-1].recall > 0.95
    assert recall.choose_width(few, 0.01) == 512 and recall.choose_width(points, 1.0) == 512
    path = tiny.write_index_run(finished.root, tmp_path, tmp_path / "run.index", width=0, work=f'"{finished.out}/work"')
    assert main(["index", "--config", str(path), "--curve", str(tmp_path / "curve.json")]) == 0
    text = capsys.readouterr().out
    assert "recall of the 10 strongest training tracks, 6 cohort clips, 32 tracks and decoys, shortlist 8" in text
    kept = json.loads((tmp_path / "curve.json").read_text())
    assert [row["width"] for row in kept["rows"]] == [512, 1024, 2048, 4096]
    assert layout.read_manifest(tmp_path / "run.index")["width"] in (512, 1024, 2048, 4096)
    # going on with the index that is there computes nothing again
    assert main(["index", "--config", str(path)]) == 0
    assert "32 tracks and decoys (32 as they were, 0 dropped)" in capsys.readouterr().out
