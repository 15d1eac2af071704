"""`precompute pass` on the tiny model: whoever computes the tracks, `run` publishes the same store."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precompute.cli.main import main
from precompute.common.locks import lock_work
from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.scale.driver import PassOptions, describe_pace, run_pass
from precompute.scale.preparation import prepare_pass
from support import tiny


def prepared(finished, name: str, **changes: str) -> Path:
    """run.toml of a run of which all but the tracks' results and the store is done."""
    out = finished.root / name
    shutil.copytree(finished.out, out, ignore=shutil.ignore_patterns("scores-*", "pass", "store*"))
    config = tiny.write_run(finished.root, out)
    config.write_text(config.read_text() + "[pass]\nshard_tracks = 5\n")
    return config


def assert_same_store(finished, config: Path) -> None:
    """`run` finds everything done, and publishes the same."""
    kept = {p: p.stat().st_mtime_ns for p in (config.parent / "work" / "cache").glob("scores-*")}
    assert len([p for p in kept if p.suffix == ".npz"]) == 7
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["run", "--config", str(config)]) == 0
    assert all(p.stat().st_mtime_ns == when for p, when in kept.items())
    ours, theirs = tiny.tables(config.parent / "store.duckdb"), tiny.tables(finished.store)
    columns = [(row[:3], row[3]) for row in ours["scores"]], [(row[:3], row[3]) for row in theirs["scores"]]
    assert [c[0] for c in columns[0]] == [c[0] for c in columns[1]]
    np.testing.assert_allclose([c[1] for c in columns[0]], [c[1] for c in columns[1]], rtol=1e-5)
    assert ours == theirs  # bit by bit, even


def test_a_worker_is_killed_and_the_store_is_the_same(finished) -> None:
    config, printed = prepared(finished, "by-two"), io.StringIO()

    def kill() -> None:
        while not (workers := multiprocessing.active_children()) or "pass: 32 tracks" not in printed.getvalue():
            time.sleep(0.005)
        os.kill(workers[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with contextlib.redirect_stdout(printed):
        assert main(["pass", "--config", str(config), "--workers", "2", "--cost-per-hour", "2"]) == 0
    thread.join()
    text = printed.getvalue()
    assert re.search(r"worker \d \[process \d+\] was killed \(signal 9\).*a new one does it again", text), text
    pace = r"  tracks: 32 of 32, \d+ s, [\d.e+]+ a second by 2, cost 0.\d\d so far, 0.\d\d in all"
    assert re.search(pace, text), text
    assert "32 tracks in 7 shards, 0 of them done before" in text and "32 tracks, each once" in text
    again = io.StringIO()
    with contextlib.redirect_stdout(again):
        assert main(["pass", "--config", str(config)]) == 0
    assert "32 tracks are done already" in again.getvalue()
    assert_same_store(finished, config)


def test_a_damaged_entry_is_found_and_done_again(finished) -> None:
    config = prepared(finished, "damaged")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["pass", "--config", str(config)]) == 0
    first, second, *others = sorted((config.parent / "work" / "cache").glob("scores-*.npz"))
    written = [path.stat().st_mtime_ns for path in others]
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:100])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["pass", "--config", str(config)]) == 0
    assert f"{first}: damaged; it is computed again" in printed.getvalue()
    assert f"{second}: damaged; it is computed again" in printed.getvalue()
    assert "32 tracks in 7 shards, 5 of them done before" in printed.getvalue()
    assert [path.stat().st_mtime_ns for path in others] == written
    assert_same_store(finished, config)


def test_a_worker_with_other_settings_refuses(finished) -> None:
    config = RunConfig.load(prepared(finished, "other"))
    with contextlib.redirect_stdout(io.StringIO()):
        assignment = prepare_pass(config)[1]
    other = replace(config, pass_=replace(config.pass_, precision="bf16"))
    with pytest.raises(UserError, match="its settings, model or code differ from the driver's"):
        replace(assignment, config=other).open(0)
    assert callable(pickle.loads(pickle.dumps(assignment)).open(0))


def test_a_pass_and_a_run_do_not_share_a_work_folder(finished, tmp_path: Path, capsys) -> None:
    path = tiny.write_run(finished.root, tmp_path)
    with lock_work(tmp_path / "work"):
        for verb in ("pass", "run"):
            assert main([verb, "--config", str(path)]) == 1
            said = capsys.readouterr()
            assert "work: another run or pass is at work in this folder" in said.err and said.err.count("\n") == 1
            assert said.out == "" and not (tmp_path / "work/cache").exists()


def test_processes_share_no_gpu(finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precompute.scale.driver.can_fork", lambda device: False)
    config = prepared(finished, "one-by-one")
    with pytest.raises(UserError, match=r"--workers 2: .* use --launcher ray, or --workers 1"):
        run_pass(RunConfig.load(config), PassOptions(workers=2))
    run_pass(RunConfig.load(config), PassOptions(workers=1))
    assert_same_store(finished, config)


def test_the_pace_names_rate_and_cost() -> None:
    text = "31.9 a second by 4, cost 1.00 so far, 10.00 in all"
    assert describe_pace(11_500, 115_000, 360.0, 4, 10.0) == text
    assert describe_pace(11_500, 115_000, 360.0, 4, 0.0) == "31.9 a second by 4"


@pytest.mark.parametrize(
    ("options", "message"), [(["--workers", "0"], "--workers 0: must"), (["--timeout", "0"], "--timeout 0.0: must")]
)
def test_mistakes_are_told_in_one_line(finished, capsys, options: list[str], message: str) -> None:
    assert main(["pass", "--config", str(finished.config), *options]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_driver_is_killed_and_started_again(finished, environment: dict[str, str]) -> None:
    config = prepared(finished, "driver")
    command = [sys.executable, "-m", "precompute", "pass", "--config", str(config), "--workers", "2"]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not list((config.parent / "work" / "cache").glob("scores-*.npz")):
        assert driver.poll() is None
        time.sleep(0.005)
    driver.kill()
    driver.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.search(r"32 tracks in 7 shards, (\d) of them done before", done.stdout)
    assert found and int(found[1]) >= 1
    assert_same_store(finished, config)


def listening() -> set[str]:
    """Addresses (hexadecimal) that accept connections here, loopback apart."""
    found = set()
    for name, loopback in (
        ("tcp", ("0100007F",)),
        ("tcp6", ("0" * 24 + "01000000", "0000000000000000FFFF00000100007F")),
    ):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and address.split(":")[0] not in loopback:
                found.add(address)
    return found


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (extra [ray])")
def test_by_actors_of_ray_one_of_them_killed(finished, environment: dict[str, str]) -> None:
    config, before = prepared(finished, "ray"), listening()
    command = [
        sys.executable,
        "-m",
        "precompute",
        "pass",
        "--config",
        str(config),
        "--workers",
        "2",
        "--launcher",
        "ray",
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        text, opened = "", set()
        assert driver.stdout is not None
        for line in driver.stdout:
            text += line
            if found := re.search(r"worker 0: process (\d+), ready", line):
                opened = listening() - before
                os.kill(int(found[1]), signal.SIGKILL)
    assert driver.returncode == 0, text
    assert re.search(r"worker 0 was lost \(\w+\).*a new one does it again", text), text
    assert "32 tracks, each once" in text and not opened
    assert_same_store(finished, config)
