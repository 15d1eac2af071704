"""Locks: one holder at a time, bounded waiting that is told, and nothing that a killed process left blocks another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from precompute.common import locks
from precompute.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from precompute.common import locks
with locks.{lock}(Path(sys.argv[1])):
    {meanwhile}
    print("held", flush=True)
    time.sleep(60)
"""


def hold(path: Path, environment: dict[str, str], lock: str = "lock_store", meanwhile: str = "") -> subprocess.Popen:
    """A process of its own that holds the lock."""
    code = HOLD.format(lock=lock, meanwhile=meanwhile or "pass")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store.duckdb").write_bytes(b"a store")
    return tmp_path / "store.duckdb"


def test_waiting_is_told_once_and_bounded(
    store: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.5)
    process = hold(store, environment)
    try:
        told = r"store.duckdb: another command has been changing it for 0.00833 min"
        with pytest.raises(UserError, match=told), locks.lock_store(store):
            pass
        assert capsys.readouterr().out == f"  waiting: another command is changing {store}\n"
    finally:
        process.kill()
        process.wait()


def test_a_killed_holder_blocks_nobody_and_a_waiter_goes_on(
    store: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    process, lock = hold(store, environment), store.with_name(".store.duckdb.lock")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert lock.exists()  # left behind
    with locks.lock_store(store):
        assert lock.exists()
    assert capsys.readouterr().out == "" and os.listdir(store.parent) == [store.name]


def test_a_forked_worker_does_not_keep_the_lock_of_a_killed_parent(store: Path, environment: dict[str, str]) -> None:
    fork = "import os; child = os.fork(); print(child, flush=True) if child else time.sleep(60)"
    code = HOLD.format(lock="lock_store", meanwhile=fork)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(store)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        os.kill(child, 0)  # it runs
        with locks.lock_store(store):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_links_to_one_store_are_one_lock(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.2)
    link = store.parent / "elsewhere" / "link.duckdb"
    link.parent.mkdir()
    link.symlink_to(store)
    with locks.lock_store(link), pytest.raises(UserError, match="another command"), locks.lock_store(store):
        pass


def test_many_at_once_come_one_after_the_other(store: Path, environment: dict[str, str]) -> None:
    """Each reads a number, waits, and writes it plus one: a lost update would show."""
    code = (
        "import sys, time; from pathlib import Path; from precompute.common import locks\n"
        "for _ in range(5):\n"
        "    with locks.lock_store(Path(sys.argv[1])):\n"
        "        count = int(Path(sys.argv[1]).read_text()); time.sleep(0.005)\n"
        "        Path(sys.argv[1]).write_text(str(count + 1))\n"
    )
    store.write_text("0")
    several = [
        subprocess.Popen([sys.executable, "-c", code, str(store)], env=environment, stdout=subprocess.DEVNULL)
        for _ in range(4)
    ]
    assert [process.wait(60) for process in several] == [0] * 4
    assert store.read_text() == "20" and os.listdir(store.parent) == [store.name]


def test_a_work_folder_is_refused_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    work = tmp_path / "new" / "work"
    process = hold(work, environment, "lock_work")
    began = time.monotonic()
    try:
        told = "work: another run or pass is at work in this folder"
        with pytest.raises(UserError, match=told), locks.lock_work(work):
            pass
        assert time.monotonic() - began < 2
    finally:
        process.kill()
        process.wait()
    with locks.lock_work(work):
        pass
    assert os.listdir(work) == []


def test_a_lock_file_that_is_a_link_is_not_followed(store: Path) -> None:
    precious = store.parent / "precious"
    store.with_name(".store.duckdb.lock").symlink_to(precious)
    with pytest.raises(UserError, match="its folder cannot be written"), locks.lock_store(store):
        pass
    assert not precious.exists()


def test_a_work_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    told = r"file/work: cannot be made \(Not a directory\)"
    with pytest.raises(UserError, match=told), locks.lock_work(tmp_path / "file/work"):
        pass
