"""The index: sketches against their naive twin, appending and dropping, refusals, a kill in the middle of writing."""

from __future__ import annotations

import csv
import json
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from precompute.cli.main import main
from precompute.config.run import MethodsSection, RunConfig
from precompute.errors import UserError
from precompute.index import layout, recall
from precompute.index.calibration import IndexCalibration, SketchedScores
from precompute.index.search import (
    Estimator,
    SketchTable,
    choose_shortlist,
    fold_sketches,
    multiply_sketches,
    quantise_sketches,
)
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


@pytest.mark.parametrize(("precision", "error"), [("int8", 0.501 / 127), ("fp16", 5e-4), ("fp32", 0.0)])
def test_a_table_gives_the_sketches_back(precision: str, error: float) -> None:
    wanted = np.random.default_rng(7).standard_normal((5, 3, 100)).astype(np.float32)
    table = SketchTable(*quantise_sketches(wanted, precision))
    assert table.shape == (5, 3, 100) and table.numbers.itemsize == {"int8": 1, "fp16": 2, "fp32": 4}[precision]
    largest = np.abs(wanted).max(-1, keepdims=True)
    assert (np.abs(table[[4, 0]] - wanted[[4, 0]]) <= error * largest[[4, 0]] + 1e-9).all()


def test_the_shortlist_takes_the_tested_bins_first_and_the_strongest_of_each() -> None:
    bins = np.array([[0, 2, 1, 0, 1, 2], [0, 0, 0, 1, 0, 0]], np.uint8)
    strength = np.array([[9.0, 1, 3, 8, 4, 2], [1, 2, 3, -5, 5, 6]])
    by_count = {2: [[1, 5], [3, 5]], 3: [[1, 4, 5], [3, 4, 5]], 5: [[0, 1, 2, 4, 5], [1, 2, 3, 4, 5]]}
    for count, wanted in by_count.items():
        chosen = choose_shortlist(strength, bins, count)
        assert [np.flatnonzero(row).tolist() for row in chosen] == wanted
    assert np.flatnonzero(choose_shortlist(strength[:1], bins[:1], 4)[0]).tolist() == [0, 1, 4, 5]  # 0: the strongest


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
    part = index.unlearning
    assert np.allclose(part.cohort.T, cohort, rtol=1e-4, atol=1e-6 * np.abs(cohort).max())
    sketched = multiply_sketches(part.numbers[:, 0], part.scale[:, 0], part.clips)
    assert np.corrcoef(sketched.ravel(), cohort.ravel())[0, 1] > 0.9
    assert (part.noise > 0).all() and len(index.rows) == 32 and list(index.parts) == ["unlearning"]


def test_with_a_perfect_sketch_judging_is_what_a_run_does(finished, made) -> None:
    """Estimates equal to exact scores: normalised scores, ranks, p- and q-values are those of `calibrate_scores`."""
    from precompute.corpus.intake import load_corpus
    from precompute.significance.match_bins import match_clips
    from precompute.significance.normalisation import Normalisation
    from precompute.significance.verdicts import ClipGroups, assign_roles, calibrate_scores

    config, index = made
    rng, tracks, cohort = np.random.default_rng(2), load_corpus(config).tracks, index.unlearning.cohort.T
    prompts = ["a high plucked chord, fast", "a low plucked chord, slow"]
    groups = ClipGroups(match_clips([*prompts, *index.cohort.prompts], tracks), 2)
    judge = IndexCalibration.fit(index.unlearning, assign_roles(tracks), groups)
    one = np.ones(len(index.rows))
    judge = replace(judge, estimator=replace(judge.estimator, slope=one, offset=0 * one, residual=0 * one))
    cells = cohort[:2, :, None, None, None] + rng.standard_normal((2, 32, 4, 4, 2)) * 1e-12
    for places in (np.arange(32), np.arange(0, 32, 3)):  # all exact; some exact, the others estimated without error
        halves = cells.mean((2, 3)).transpose(0, 2, 1)
        found = judge.judge_clips(SketchedScores(halves, [], np.ones(2)), places, cells[:, places])
        wanted = calibrate_scores(cells, Normalisation.fit(cohort), assign_roles(tracks), groups)
        assert np.allclose(found.score_norm, wanted.score_norm) and (found.rank == wanted.rank).all()
        assert np.allclose(found.std_error[:, places], wanted.std_error[:, places])
        assert (found.match_bin == wanted.match_bin).all() and (found.match_bin > 0).any()
        if len(places) == 32:
            for name in ("p_value", "q_value"):
                values = getattr(found, name)
                assert np.isfinite(values).any() and np.allclose(values, getattr(wanted, name), equal_nan=True), name
            assert found.bins == wanted.bins and max(record.null_rows for record in found.bins) > 0


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
    for what in ("clips", "unlearning_fisher"):
        assert both.manifest["files"][what] == half.manifest["files"][what]
    other = index_of(lambda i: i % 16 >= 8, "a")
    by_id = {int(i): row for row, i in enumerate(both.rows.track_id)}
    for part in (half, other):
        places = np.array([by_id[int(i)] for i in part.rows.track_id])
        for few, all_of in ((part.rows, both.rows), *((part.parts[m], both.parts[m]) for m in both.parts)):
            for name in getattr(few, "OF_TRACKS", ("track_id", "digest")):
                assert np.array_equal(getattr(few, name), getattr(all_of, name)[places]), name
    assert len(half.rows) == len(other.rows) == 16 and len(both.rows) == 32
    # the same rows where all were computed in one go
    shutil.rmtree(root / "a" / "run.index")
    fresh = index_of(lambda i: True, "a")
    assert np.array_equal(fresh.unlearning.numbers, whole.unlearning.numbers)
    left = sorted(path.name.split("-")[0] for path in (root / "a" / "run.index").iterdir())
    assert left == ["clips", "manifest.json", "tracks", "unlearning", "unlearning_fisher", "unlearning_numbers"]


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


def test_an_index_serves_what_it_can_of_a_run_the_default_first(config: RunConfig) -> None:
    section = MethodsSection(run=("unlearning", "clap", "dtrak"), default="dtrak")
    assert layout.list_served(replace(config, methods=section)) == ["dtrak", "unlearning"]
    with pytest.raises(UserError, match="an index serves dtrak and unlearning, and none of them is in the run"):
        layout.list_served(replace(config, methods=MethodsSection(run=("clap",), default="clap")))


def test_a_changed_file_is_refused(made, tmp_path: Path, capsys) -> None:
    config, index = made
    folder = tmp_path / "broken.index"
    shutil.copytree(index.folder, folder)
    (tmp_path / "run.toml").write_text(config.text.replace(str(index.folder), str(folder)))
    fisher = folder / index.manifest["files"]["unlearning_fisher"]["name"]
    data = bytearray(fisher.read_bytes())
    data[-1] ^= 1
    fisher.write_bytes(data)
    assert main(["index", "--config", str(tmp_path / "run.toml")]) == 1
    assert f"{fisher}: not what the manifest says" in capsys.readouterr().err


def test_an_index_of_an_older_release_is_refused(made, tmp_path: Path, capsys) -> None:
    config, index = made
    folder = tmp_path / "old.index"
    shutil.copytree(index.folder, folder)
    manifest = json.loads((folder / layout.MANIFEST).read_text())
    (folder / layout.MANIFEST).write_text(json.dumps({**manifest, "format": layout.FORMAT - 1}))
    (tmp_path / "run.toml").write_text(config.text.replace(str(index.folder), str(folder)))
    for verb in (["index"], ["attribute", "a low chord"]):
        assert main([*verb, "--config", str(tmp_path / "run.toml")]) == 1
        assert "delete it and make the index again" in capsys.readouterr().err


def test_a_fault_while_writing_leaves_the_old_index(made, tmp_path: Path, monkeypatch) -> None:
    _, index = made
    folder = tmp_path / "kept.index"
    shutil.copytree(index.folder, folder)
    rows = layout.IndexRows(index.rows.track_id[:5], index.rows.digest[:5])
    own = {name: getattr(index.unlearning, name)[:5] for name in index.unlearning.OF_TRACKS}
    fewer = replace(index, folder=folder, rows=rows, parts={"unlearning": replace(index.unlearning, **own)})

    write = layout.write_atomically

    def stop(path: Path, content: Any) -> None:
        if path.name == layout.MANIFEST:
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(layout, "write_atomically", stop)
    with pytest.raises(KeyboardInterrupt):
        layout.save_index(fewer, layout.read_manifest(folder))
    assert len(layout.load_index(folder, check_sketches=True).rows) == 32
    monkeypatch.undo()
    layout.save_index(fewer, layout.read_manifest(folder))
    assert len(layout.load_index(folder, check_sketches=True).rows) == 5 and len(list(folder.iterdir())) == 6


def test_an_index_that_another_command_has_changed_is_not_replaced(made, tmp_path: Path) -> None:
    _, index = made
    folder = tmp_path / "changed.index"
    shutil.copytree(index.folder, folder)
    moved = replace(index, folder=folder)
    for replaced in (None, {**index.manifest, "tracks": 3}):
        with pytest.raises(UserError, match="another command has changed the index meanwhile; start this one again"):
            layout.save_index(moved, replaced)
    assert layout.read_manifest(folder) == index.manifest
    for name in (".tracks-7.npz.7.part", ".manifest.json.7.part", "tracks-7.npz", "unlearning_numbers-0a.npy"):
        (folder / name).write_bytes(b"half of it")  # of a process that was killed
    layout.save_index(moved, index.manifest)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in index.folder.iterdir())


def test_an_index_can_be_read_while_it_is_replaced(made, tmp_path: Path) -> None:
    _, index = made
    folder, over = tmp_path / "replaced.index", threading.Event()
    shutil.copytree(index.folder, folder)
    whole = replace(index, folder=folder)
    own = {name: getattr(index.unlearning, name)[:5] for name in index.unlearning.OF_TRACKS}
    rows = layout.IndexRows(index.rows.track_id[:5], index.rows.digest[:5])
    fewer = replace(whole, rows=rows, parts={"unlearning": replace(index.unlearning, **own)})

    def replace_often() -> None:
        for _ in range(8):
            for version in (fewer, whole):
                layout.save_index(version, layout.read_manifest(folder))
        over.set()

    thread = threading.Thread(target=replace_often)
    thread.start()
    seen = set()
    while not over.is_set():
        seen.add(len(layout.load_index(folder, check_sketches=True).rows))
    thread.join(60)
    assert seen and seen <= {5, 32}


def test_recall_is_one_where_the_shortlist_holds_all_and_the_curve_is_told(finished, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(3)
    rows, clips = rng.standard_normal((60, 2048)).astype(np.float32), rng.standard_normal((12, 2048)).astype(np.float32)
    clips[:, :64] *= 30
    rows[:, :64] *= 30
    train = np.arange(60) < 40
    none = np.zeros((12, 60), np.uint8)
    measured = recall.RecallSample(clips @ rows.T, rows, clips, np.linalg.norm(clips, axis=1), train, none)
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
