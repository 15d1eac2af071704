"""Killed, started again, cut into other shards, given other inputs: the same store, or an honest new one."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from precompute.cli.main import main
from precompute.common.cache import Cache
from precompute.config.run import BankSection, PassSection, RunConfig
from precompute.gradients.context import Queries
from precompute.methods.base import MethodResult
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import Items, Model
from support import tiny
from support.twins import make_plain_context


def rows(store: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_second_run_reuses_the_cache_and_publishes_the_same(finished, tmp_path: Path) -> None:
    shutil.copytree(finished.out, tmp_path / "run")
    (tmp_path / "run" / "store.duckdb").unlink()
    cache = tmp_path / "run" / "work" / "cache"
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    # the same depth below the corpus, so that relative paths are equal
    config = tiny.write_run(finished.root, finished.root / "second", work=f'"{tmp_path}/run/work"')
    assert main(["run", "--config", str(config)]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == before
    assert tiny.tables(finished.root / "second" / "store.duckdb") == tiny.tables(finished.store)


@pytest.mark.parametrize("change", ["seconds", "clap", "model config"])
def test_no_stale_result_survives_a_changed_input(finished, tmp_path: Path, change: str) -> None:
    """Other lengths of the prompts, another CLAP or another latent scale: scores are computed anew."""
    shutil.copytree(finished.root / "model", tmp_path / "model")
    shutil.copytree(finished.out / "work", tmp_path / "work")
    config = tiny.write_run(
        finished.root,
        tmp_path,
        config=f'"{tmp_path}/model/model_config.json"',
        clap=f'"{tmp_path}/model/clap"',
        checkpoints='""',
    )
    prompts = finished.root / "prompts.csv"
    prompts.write_text(tiny.PROMPTS.replace("1.9", "1.2") if change == "seconds" else tiny.PROMPTS)
    if change == "clap":
        path = tmp_path / "model" / "clap" / "model.safetensors"
        save_file({k: v * 1.1 if "projection" in k else v for k, v in load_file(path).items()}, path, {"format": "pt"})
    elif change == "model config":
        path = tmp_path / "model" / "model_config.json"
        path.write_text(re.sub(r'"scale": 0\.\d+|"scale": [12]\.\d+', '"scale": 0.5', path.read_text(), count=1))
    before = {path.name for path in (tmp_path / "work" / "cache").iterdir()}
    try:
        assert main(["run", "--config", str(config)]) == 0
    finally:
        prompts.write_text(tiny.PROMPTS)
    new = {path.name.rsplit("-", 1)[0] for path in (tmp_path / "work" / "cache").iterdir() if path.name not in before}
    assert {"clips", "scores-00000", "direction-00002"} <= new
    pick = "SELECT score FROM scores WHERE clip_id = 3 ORDER BY track_id"
    assert rows(tmp_path / "store.duckdb", pick) != rows(finished.store, pick)


def kill_when(
    command: list[str], environment: dict[str, str], cwd: Path, cache: Path, pattern: str, count: int
) -> None:
    """Start the command; kill -9 it as soon as `count` cache files fit the pattern."""
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(cache.glob(pattern))) < count:
        assert process.poll() is None, f"it ended with {process.returncode} before it could be killed"
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_killed_anywhere_it_goes_on_to_the_same_store(finished, tmp_path: Path, environment: dict[str, str]) -> None:
    out = finished.root / "killed-anywhere"  # a name of its own: what shares the root goes on elsewhere
    config = tiny.write_run(finished.root, out)
    command = [sys.executable, "-m", "precompute", "run", "--config", str(config)]
    for pattern, count in (("latents-*.npz", 1), ("direction-*.npz", 5), ("unlearning-moments-*.npz", 2)):
        kill_when(command, environment, tmp_path, out / "work" / "cache", pattern, count)
        assert not (out / "store.duckdb").exists()
    assert main(["run", "--config", str(config)]) == 0
    assert tiny.tables(out / "store.duckdb") == tiny.tables(finished.store)
    kept = list((out / "work" / "cache").glob("*.npz"))
    assert len(kept) > 10
    for path in kept:  # further tests may have added to the finished run's
        ours, theirs = np.load(path), np.load(finished.out / "work" / "cache" / path.name)
        assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours.files), path.name


def test_a_second_run_in_a_work_folder_is_told_at_once(
    finished, tmp_path: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished.root / "two-at-once"
    config = tiny.write_run(finished.root, out)
    command = [sys.executable, "-m", "precompute", "run", "--config", str(config)]
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not (out / "work" / "cache").exists():
            assert first.poll() is None
            time.sleep(0.002)
        began = time.monotonic()
        assert main(["run", "--config", str(config)]) == 1 and time.monotonic() - began < 5
        said = capsys.readouterr().err
        assert f"{out}/work: another run or pass is at work in this folder" in said and said.count("\n") == 1
    finally:
        first.kill()
        first.wait()
    assert (out / "work" / ".lock").exists()  # left behind, and free
    assert main(["run", "--config", str(config)]) == 0
    assert not (out / "work" / ".lock").exists() and tiny.tables(out / "store.duckdb") == tiny.tables(finished.store)


def test_entries_that_were_cut_short_are_computed_again(finished, capsys: pytest.CaptureFixture[str]) -> None:
    out = finished.root / "cut-short"
    shutil.copytree(finished.out, out)
    config, cut = tiny.write_run(finished.root, out), {}
    stages = ("latents", "clips", "direction", "scores", "unlearning-moments")
    for stage in stages:  # all of them: other tests' runs may have left theirs beside this run's
        for path in (out / "work" / "cache").glob(f"{stage}-*.npz"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            cut[f"  {path}: damaged; it is computed again"] = stage
    assert main(["run", "--config", str(config)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "damaged; it is computed again" in line]
    assert {cut[line] for line in told} == set(stages) and len(told) == len(set(told))
    assert tiny.tables(out / "store.duckdb") == tiny.tables(finished.store)


def test_neither_order_nor_shards_matter(model: Model, items: Items, config: RunConfig, tmp_path: Path) -> None:
    small = replace(config, bank=BankSection(replicates=2, strata=2))
    method = Unlearning(small.unlearning, tracks=16)
    queries = Queries(shown=items[[0, 1]], targets=items[[2]], cohort=items[[3, 4]])

    def scores(order: list[int], shard: int) -> MethodResult:
        cache = Cache(tmp_path / f"{shard}-{order[0]}")
        sharing = model.with_arithmetic(PassSection(shard_tracks=shard))
        return method.compute_scores(make_plain_context(sharing, items[order], queries, small, cache), {})

    order = list(range(20))
    plain, sharded, turned = scores(order, 16), scores(order, 7), scores(order[::-1], 16)
    for name, axis in (("cells", 1), ("windows", 1), ("cohort", 1)):
        wanted = getattr(plain, name)
        assert np.array_equal(getattr(sharded, name), wanted, equal_nan=True)
        assert np.array_equal(np.flip(getattr(turned, name), axis), wanted, equal_nan=True)
    assert plain.score.shape == (3, 20) and np.allclose(np.nansum(plain.windows, 2), plain.score[:2], rtol=1e-3)
