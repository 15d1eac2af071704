"""Jobs by real processes: workers and drivers that are killed, jobs that fail or take too long, a full disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from precompute.common.cache import Cache
from precompute.common.scheduler import DONE, FAILED, LOST, READY, Event, JobList, Limits, schedule
from precompute.errors import UserError
from support import shard_jobs
from support.shard_jobs import JOBS, drive, entry, results


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert not multiprocessing.active_children()


def assert_whole(folder: Path) -> None:
    """Every job's result is there, once, as one process gives it."""
    cache = Cache(folder)
    assert len(list(folder.glob("shard-*.npz"))) == len(JOBS) and not list(folder.glob(".*.part"))
    assert sum(len(results(number)["cells"]) for number in JOBS) == shard_jobs.TRACKS
    for number in JOBS:
        found, wanted = cache.read(entry(number)), results(number)
        assert found.keys() == wanted.keys() and cache.is_whole(entry(number))
        for name, array in wanted.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def counts(folder: Path) -> list[int]:
    """The number of times that each job was done."""
    return [len(list(folder.glob(f"did-{number}-*"))) for number in JOBS]


def kill_when_it_stalls(folder: Path) -> threading.Thread:
    def kill() -> None:
        while not (folder / "stalled").exists() or not (folder / "stalled").read_text():
            time.sleep(0.02)
        os.kill(int((folder / "stalled").read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_killed_worker_s_job_is_done_by_another(tmp_path: Path, capsys) -> None:
    thread = kill_when_it_stalls(tmp_path)
    drive(tmp_path, 2, stall=3)
    thread.join()
    assert_whole(tmp_path)
    assert counts(tmp_path) == [1] * len(JOBS)  # the killed one had not finished
    text, pid = capsys.readouterr().out, (tmp_path / "stalled").read_text()
    assert re.search(rf"worker \d \[process {pid}\] was killed \(signal 9\).* at shard 3; a new one does", text), text
    assert "a new one does it again (try 2 of 3)" in text and text.count("done ") == len(JOBS)


def test_a_worker_that_takes_too_long_is_ended(tmp_path: Path, capsys) -> None:
    drive(tmp_path, 1, timeout_s=5.0, stall=1)
    assert_whole(tmp_path)
    assert "took longer than 5 s at shard 1" in capsys.readouterr().out


def test_a_job_that_always_fails_ends_the_pass_with_its_reason(tmp_path: Path) -> None:
    message = r"^pass: worker 0 failed \(RuntimeError: no such thing; .* at shard 2, 3 times now; what is"
    with pytest.raises(UserError, match=message):
        drive(tmp_path, 1, fail=2)
    assert {0, 1} <= {number for number in JOBS if Cache(tmp_path).is_whole(entry(number))}  # what came before


def is_alive(pid: int) -> bool:
    """True where a process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_driver_s_pass_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, str(Path(shard_jobs.__file__)), str(tmp_path), "2"]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("shard-*.npz"))) < 3:
        assert driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    workers = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    until = time.monotonic() + 20
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < until, "a worker outlives its driver"
        time.sleep(0.05)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*.npz")}
    assert len(workers) == 2 and 3 <= len(kept) < len(JOBS)
    damaged = Cache(tmp_path).locate(entry(0))
    damaged.write_bytes(b"PK\3\4")  # and one was damaged meanwhile
    drive(tmp_path, 2)
    assert_whole(tmp_path)
    assert {path for path, when in kept.items() if path.stat().st_mtime_ns != when} == {damaged}


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_pass_goes_on_when_there_is_space(small_disk: Path) -> None:
    block = small_disk / "block"
    with pytest.raises(OSError):
        block.write_bytes(bytes(1 << 20))
    block.write_bytes(bytes(44 << 10))  # leaves room for a few
    with pytest.raises(OSError) as caught:
        drive(small_disk, 2)
    assert caught.value.errno == errno.ENOSPC and "shard-" in str(caught.value.filename)
    assert not list(small_disk.glob(".*.part"))
    assert 0 < sum(Cache(small_disk).is_whole(entry(number)) for number in JOBS) < len(JOBS)
    block.unlink()
    drive(small_disk, 2)
    assert_whole(small_disk)


class ScriptedPool:
    """A pool that tells what a test has written down."""

    def __init__(self, *events: Event) -> None:
        self.events, self.calls = list(events), []

    def start(self, worker: int) -> None:
        self.calls.append(f"start {worker}")

    def give(self, worker: int, job: int) -> None:
        self.calls.append(f"give {worker} {job}")

    def wait(self, seconds: float) -> list[Event]:
        return [self.events.pop(0)]

    def stop(self, worker: int) -> None:
        self.calls.append(f"stop {worker}")

    def close(self) -> None:
        self.calls.append("close")


def test_a_worker_that_ends_while_it_waits_is_replaced() -> None:
    pool = ScriptedPool(
        *(Event(0, READY), Event(1, READY), Event(0, DONE), Event(0, LOST, "was killed"), Event(1, LOST, "was killed")),
        *(Event(0, READY), Event(0, DONE)),
    )
    done: list[int] = []
    schedule(JobList("jobs", [5, 6]), pool, 2, Limits(retries=1), done.append)
    assert done == [5, 6] and pool.calls == [
        *("start 0", "start 1", "give 0 5", "give 1 6", "start 0", "start 1", "give 0 6", "close"),
    ]


@pytest.mark.parametrize("error", [UserError("no layers"), OSError(errno.ENOSPC, "No space left", "x.npz")])
def test_errors_that_another_try_does_not_mend_end_the_pass_at_once(error: Exception) -> None:
    pool = ScriptedPool(Event(0, READY), Event(0, FAILED, "failed", error))
    with pytest.raises(type(error)) as caught:
        schedule(JobList("jobs", [5]), pool, 1, Limits(retries=5), print)
    assert caught.value is error and pool.calls[-1] == "close"


def test_a_worker_that_cannot_load_is_told_so() -> None:
    pool = ScriptedPool(*[Event(0, LOST, "was killed (signal 9)")] * 3)
    with pytest.raises(UserError, match=r"^jobs: worker 0 was killed \(signal 9\) while it was loading, 3 times now"):
        schedule(JobList("jobs", [5]), pool, 1, Limits(retries=2), print)
