"""The core of a pass, without a model: shards by content, whole or not at all; workers and drivers that are killed."""

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

from precompute.errors import UserError
from precompute.scale import shards
from precompute.scale.manifest import alone
from precompute.scale.scheduler import Report
from precompute.scale.shards import Shard
from support import shard_worker


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert not multiprocessing.active_children()


def assert_whole(folder: Path, cut: list[Shard]) -> None:
    """Every track once, with the results that one process gives."""
    ids = [i for shard in cut for i in shard.track_ids]
    assert ids == list(range(100, 100 + shard_worker.TRACKS))
    assert len(list(folder.glob("shard-*.parquet"))) == len(cut) and not list(folder.glob("*.part"))
    for shard in cut:
        found, wanted = shards.read(folder, shard), shard_worker.results(shard)
        assert found.keys() == wanted.keys()
        for tap, result in wanted.items():
            assert (found[tap].own_s, found[tap].gradient_s) == (result.own_s, result.gradient_s)
            for name, array in result.arrays.items():
                assert found[tap].arrays[name].dtype == array.dtype
                np.testing.assert_array_equal(found[tap].arrays[name], array)


def counts(folder: Path, cut: list[Shard]) -> list[int]:
    """How often each shard was computed."""
    return [len(list(folder.glob(f"did-{shard.name}-*"))) for shard in cut]


def test_a_name_follows_from_the_contents() -> None:
    first, again, other = shard_worker.cut(), shard_worker.cut(), shard_worker.cut("other model")
    assert first == again and not {s.name for s in first} & {s.name for s in other}
    contents = [f"track {i}" for i in range(shard_worker.TRACKS)]
    contents[9] = "another recording"
    changed = shards.cut("key", range(100, 100 + shard_worker.TRACKS), contents, shard_worker.SIZE)
    assert [a.name != b.name for a, b in zip(first, changed, strict=True)] == [n == 2 for n in range(len(first))]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cut = shard_worker.cut()
    for shard in cut:
        assert not shards.is_finished(tmp_path, shard)
        shards.write(tmp_path, shard, shard_worker.results(shard))
        assert shards.is_finished(tmp_path, shard)
    assert_whole(tmp_path, cut)


@pytest.mark.parametrize("damage", ["truncated", "empty", "a bit", "another shard"])
def test_a_damaged_shard_is_found_out(tmp_path: Path, capsys, damage: str) -> None:
    cut = shard_worker.cut()
    for shard in cut[:2]:
        shards.write(tmp_path, shard, shard_worker.results(shard))
    path = shards.path_of(tmp_path, cut[0])
    data = bytearray(path.read_bytes())
    place = data.index(b"\x28\xb5\x2f\xfd") + 12  # within the first compressed page
    data[place] ^= 1
    other = shards.path_of(tmp_path, cut[1]).read_bytes()
    damaged = {"truncated": path.read_bytes()[:-40], "empty": b"", "a bit": bytes(data), "another shard": other}
    path.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="not a whole shard"):
        shards.read(tmp_path, cut[0])
    assert not shards.is_finished(tmp_path, cut[0]) and not path.exists() and shards.is_finished(tmp_path, cut[1])
    assert f"{path}: not a whole shard" in capsys.readouterr().out


def kill_when_it_stalls(folder: Path) -> threading.Thread:
    def kill() -> None:
        while not (folder / "stalled").exists() or not (folder / "stalled").read_text():
            time.sleep(0.02)
        os.kill(int((folder / "stalled").read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_killed_worker_s_shard_is_done_by_another(tmp_path: Path, capsys) -> None:
    cut = shard_worker.cut()
    thread = kill_when_it_stalls(tmp_path)
    shard_worker.drive(tmp_path, 2, stall=cut[3].name)
    thread.join()
    assert_whole(tmp_path, cut)
    assert counts(tmp_path, cut) == [1] * len(cut)  # the killed one had not finished
    text, pid = capsys.readouterr().out, (tmp_path / "stalled").read_text()
    assert re.search(
        rf"worker \d \[process {pid}\] was killed \(signal 9\) at shard {cut[3].name} \(tracks 112 to", text
    )
    assert "a new one does it again (try 2 of 3)" in text
    assert re.search(r"tracks: 30 of 30, [\d.e+]+ a second by 2, 0 s left, cost 0.\d\d so far, 0.\d\d in all", text)


def test_a_worker_that_takes_too_long_is_ended(tmp_path: Path, capsys) -> None:
    cut = shard_worker.cut()
    shard_worker.drive(tmp_path, 1, stall=cut[1].name, timeout_s=5.0)
    assert_whole(tmp_path, cut)
    assert "took longer than 5 s at shard" in capsys.readouterr().out


def test_a_shard_that_always_fails_ends_the_pass_with_its_reason(tmp_path: Path) -> None:
    cut = shard_worker.cut()
    with pytest.raises(
        UserError, match=rf"failed \(RuntimeError: no such thing; .*{cut[2].name}.*3 times now; what is"
    ):
        shard_worker.drive(tmp_path, 1, fail=cut[2].name)
    assert sum(shards.is_finished(tmp_path, shard) for shard in cut) >= 2  # what came before is kept


def alive(pid: int) -> bool:
    """Whether a process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_driver_s_pass_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    cut = shard_worker.cut()
    command = [sys.executable, str(Path(shard_worker.__file__)), str(tmp_path), "2"]
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("shard-*.parquet"))) < 3:
        assert driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    workers = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    until = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < until, "a worker outlives its driver"
        time.sleep(0.05)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*.parquet")}
    assert 3 <= len(kept) < len(cut)
    shards.path_of(tmp_path, cut[0]).write_bytes(b"PAR1")  # and one was damaged meanwhile
    shard_worker.drive(tmp_path, 2)
    assert_whole(tmp_path, cut)
    changed = {path for path, when in kept.items() if path.stat().st_mtime_ns != when}
    assert changed == {shards.path_of(tmp_path, cut[0])}


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(UserError, match="another pass is at work here"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


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
    cut, block = shard_worker.cut(), small_disk / "block"
    try:
        block.write_bytes(bytes(1 << 20))
    except OSError:
        block.write_bytes(bytes(44 << 10))  # leaves room for a few
    with pytest.raises(OSError) as caught:
        shard_worker.drive(small_disk, 2)
    assert caught.value.errno == errno.ENOSPC and "shard-" in str(caught.value.filename)
    assert not list(small_disk.glob("*.part"))
    assert 0 < sum(shards.is_finished(small_disk, shard) for shard in cut) < len(cut)
    block.unlink()
    shard_worker.drive(small_disk, 2)
    assert_whole(small_disk, cut)


def test_the_report_names_rate_time_left_and_cost() -> None:
    report = Report(115_000, 4, 10.0)
    report.done = 11_500
    assert report.line(360.0) == (
        "tracks: 11500 of 115000, 31.9 a second by 4, 54 min 00 s left, cost 1.00 so far, 10.00 in all"
    )
