"""`verify` by D-TRAK: with the run's caches every score is held to full gradients, without them all to few draws."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

from precompute.cli.main import main
from precompute.config.run import RunConfig
from precompute.evaluate.verification import differentiate_naively
from precompute.gradients.item_gradients import GradientKind
from precompute.model.diffusion import Items, Model, NoiseBank
from support import tiny

METHODS = '\n[methods]\nrun = ["unlearning", "dtrak"]\ndefault = "dtrak"\n[methods.dtrak]\nwidth = 4096\n'


@pytest.fixture(scope="module")
def shop(tiny_root: Path) -> Path:
    """run.toml of a finished run by D-TRAK and unlearning."""
    out = tiny_root / "verified"
    path = tiny.write_run(tiny_root, out, targets="0", checkpoints='""')
    path.write_text(path.read_text() + METHODS)
    assert main(["run", "--config", str(path)]) == 0
    return path


def verify(config: Path, store: Path, *options: str) -> int:
    return main(["verify", "--config", str(config), "--store", str(store), "--clips", "2", "--tracks", "8", *options])


def copied(shop: Path, tmp_path: Path, change: str = "") -> tuple[Path, Path]:
    """(config with a work folder of its own, which is empty; a copy of the store with changed scores)."""
    path, store = tmp_path / "run.toml", tmp_path / "store.duckdb"
    work = RunConfig.load(shop).output.work
    path.write_text(shop.read_text().replace(f'work = "{work}"', f'work = "{tmp_path}/work"'))
    shutil.copyfile(shop.parent / "store.duckdb", store)
    if change:
        with duckdb.connect(str(store)) as connection:
            connection.execute(change)
    return path, store


def test_with_the_caches_every_score_is_reproduced(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(shop, shop.parent / "store.duckdb") == 0
    said = capsys.readouterr().out
    assert re.search(r"dtrak, clip 1: r (1\.0000|0\.999\d), 8 tracks, ridge from the caches", said)
    assert "verified: dtrak, 2 clips x 8 tracks of store.duckdb" in said and "verified: unlearning, 2 clips" in said


def test_without_caches_few_draws_say_less_and_unlearning_is_left_out(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = copied(shop, tmp_path)
    assert verify(path, store) == 0
    said = capsys.readouterr().out
    assert re.search(r"dtrak, clip 1: r 0\.\d+, 16 training tracks, 8 draws a track in place of 16", said)
    assert "not verified: unlearning" in said and "\nverified: unlearning" not in said
    assert verify(path, store, "--method", "unlearning") == 0
    assert "verified: unlearning, 2 clips x 8 tracks" in capsys.readouterr().out


@pytest.mark.parametrize("with_caches", [True, False])
def test_altered_scores_are_refused(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], with_caches: bool
) -> None:
    change = "score * (1 + track_id % 3)" if with_caches else "sin(track_id * track_id)"
    path, store = copied(shop, tmp_path, f"UPDATE scores SET score = {change}")
    assert verify(shop if with_caches else path, store) == 1
    assert "its scores by dtrak are not reproduced by the naive twin" in capsys.readouterr().err


def test_a_method_that_the_store_lacks_is_named(finished, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(finished.config, finished.store, "--method", "dtrak") == 1
    assert "holds no scores by dtrak" in capsys.readouterr().err


@pytest.mark.parametrize("masked", [False, True])
def test_naive_gradients_are_those_of_the_pass(model: Model, items: Items, masked: bool) -> None:
    from precompute.gradients.flat_vectors import average_strata
    from precompute.gradients.item_gradients import compute_track_gradients

    bank, kind = NoiseBank(2, 2, 3, seed=5), GradientKind("square", "to_kv", masked=masked)
    wanted = compute_track_gradients(model, items[[3]], [kind], bank).select(kind).rows
    found = differentiate_naively(model, items[[3]], kind, bank)
    assert found.shape[0] == 2 and torch.allclose(found, average_strata(wanted, 2), rtol=1e-3, atol=1e-7)
    assert np.isfinite(found.numpy()).all()
