"""Publishing by rename: a failure leaves what was there; a full disk ends in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from explorer.store import Store
from precompute.cli.main import main
from precompute.common import locks
from precompute.common.cache import Cache, Entry
from precompute.common.files import part_path
from precompute.errors import UserError
from precompute.store.publication import StoreContents, make_relative_path, make_relative_root, publish_store
from support import tiny


def contents_of(store: Path) -> StoreContents:
    """A store's rows, read back as the columns that `publish_store` takes."""
    tables = {}
    with duckdb.connect(str(store), read_only=True) as connection:
        for name in StoreContents.__dataclass_fields__:
            found = connection.execute(f"SELECT * FROM {name}")
            names = [column[0] for column in found.description]
            found_rows = found.fetchall()
            tables[name] = {column: [row[k] for row in found_rows] for k, column in enumerate(names)}
    return StoreContents(**tables)


@pytest.fixture
def contents(finished) -> StoreContents:
    return contents_of(finished.store)


@pytest.fixture
def store(contents: StoreContents, tmp_path: Path) -> Path:
    path = tmp_path / "store.duckdb"
    publish_store(contents, path)
    return path


def test_what_is_published_is_what_was_given(contents: StoreContents, store: Path, finished) -> None:
    assert tiny.tables(store) == tiny.tables(finished.store)
    assert os.listdir(store.parent) == ["store.duckdb"]


def non_finite_moment(contents: StoreContents) -> None:
    contents.moments["influence"][0] = [0.0, float("nan")]


def infinite_clip_moment(contents: StoreContents) -> None:
    contents.clip_moments["influence"][1] = [float("inf")]


def score_of_no_track(contents: StoreContents) -> None:
    contents.scores["track_id"][0] = 999


def score_of_no_clip(contents: StoreContents) -> None:
    contents.scores["clip_id"][0] = 999


def q_above_one(contents: StoreContents) -> None:
    contents.scores["q_value"][3] = 1.5


def nan_score(contents: StoreContents) -> None:
    contents.scores["score"][3] = float("nan")


def score_twice(contents: StoreContents) -> None:
    contents.scores["track_id"][1] = contents.scores["track_id"][0]


FAILURES = {
    non_finite_moment: r"moments.influence holds 1 values that are not finite; nothing was published",
    infinite_clip_moment: r"clip_moments.influence holds 1 values that are not finite",
    score_of_no_track: r"scores name tracks or clips that the store does not hold",
    score_of_no_clip: r"scores name tracks or clips that the store does not hold",
    q_above_one: r"store.duckdb: a result breaks the store's rules \(Constraint Error: CHECK",
    nan_score: r"store.duckdb: a result breaks the store's rules \(Constraint Error: CHECK",
    score_twice: r"store.duckdb: a result breaks the store's rules \(Constraint Error: .*uplicate",
}


@pytest.mark.parametrize("spoil", FAILURES, ids=lambda spoil: spoil.__name__)
def test_a_failed_publish_leaves_the_old_store(contents: StoreContents, store: Path, spoil) -> None:
    before = store.read_bytes()
    spoil(contents)
    with pytest.raises(UserError, match=FAILURES[spoil]) as caught:
        publish_store(contents, store)
    assert "\n" not in str(caught.value)
    assert store.read_bytes() == before and os.listdir(store.parent) == ["store.duckdb"]


def test_a_failed_first_publish_leaves_nothing(contents: StoreContents, tmp_path: Path) -> None:
    q_above_one(contents)
    with pytest.raises(UserError):
        publish_store(contents, tmp_path / "new" / "store.duckdb")
    assert os.listdir(tmp_path / "new") == []


def test_a_reader_keeps_its_snapshot(contents: StoreContents, store: Path) -> None:
    reader = Store(store)
    method = reader.runs.list_methods()[0].method_id
    before = reader.scores.read_frame(method, 1)
    contents.scores["score"] = [value + 1.0 for value in contents.scores["score"]]
    publish_store(contents, store)
    assert reader.scores.read_frame(method, 1).equals(before)
    reader.close()
    fresh = Store(store)
    assert np.allclose(fresh.scores.read_frame(method, 1)["score"], before["score"] + 1.0)
    fresh.close()


def test_paths_are_relative_with_forward_slashes(tmp_path: Path) -> None:
    assert make_relative_root(tmp_path / "data" / "demo", tmp_path / "assets" / "store.duckdb") == "../data/demo"
    assert make_relative_path(tmp_path / "a" / "b.wav", tmp_path) == "a/b.wav"
    with pytest.raises(UserError, match=r"b.wav: lies outside .*, where the page would not serve it"):
        make_relative_path(tmp_path / "b.wav", tmp_path / "a")


# -- cache and full disk -----------------------------------------------------------------------------------------------


def test_the_cache_computes_once_and_keeps_every_bit(tmp_path: Path) -> None:
    cache, calls = Cache(tmp_path), []
    array = np.random.default_rng(0).standard_normal(100)

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": array}

    first, second = cache.get(Entry("stage", "key"), compute), Cache(tmp_path).get(Entry("stage", "key"), compute)
    assert np.array_equal(first["x"], array) and np.array_equal(second["x"], array) and len(calls) == 1
    assert cache.has(Entry("stage", "key")) and not cache.has(Entry("stage", "other"))
    cache.get(Entry("stage", "other"), compute)
    assert len(calls) == 2 and {p.suffix for p in tmp_path.iterdir() if p.is_file()} == {".npz"}
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {".seconds"}  # what they took, in a folder beside


@pytest.fixture
def again(finished, tmp_path: Path) -> Path:
    """A folder with everything of the finished run, to be run once more from its cache."""
    shutil.copytree(finished.out, tmp_path / "again")
    tiny.write_run(finished.root, tmp_path / "again")
    return tmp_path / "again"


def listing(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("target", ["work/cache/clips-*.npz", "work/cache/scores-*.npz", "clips/clip-001-*.flac"])
def test_a_full_disk_ends_in_one_line(again: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    """/dev/full answers every write with ENOSPC, as a full disk does."""
    path = sorted(again.glob(target))[0]
    path.unlink()
    part_path(path).symlink_to("/dev/full")
    before, published = listing(again), (again / "store.duckdb").read_bytes()
    before.remove(str(part_path(path).relative_to(again)))
    assert main(["run", "--config", str(again / "run.toml")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("precompute: the disk is full") and said.count("\n") == 1
    assert listing(again) == before and (again / "store.duckdb").read_bytes() == published


def test_no_room_for_the_store(again: Path, environment: dict[str, str]) -> None:
    """DuckDB meets a limit on the size of files: one line, exit 1, the old store as it was."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000));"
        " from precompute.cli.main import main; sys.exit(main(['run', '--config', 'run.toml']))"
    )
    before, published = listing(again), (again / "store.duckdb").read_bytes()
    assert len(published) > 150_000
    done = subprocess.run([sys.executable, "-c", code], cwd=again, env=environment, capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if line.startswith("precompute: ")]
    assert done.returncode == 1 and len(told) == 1, done.stderr
    assert "store.duckdb: the store could not be written" in told[0]
    assert "Traceback" not in done.stderr
    assert listing(again) == before and (again / "store.duckdb").read_bytes() == published


def test_what_killed_processes_left_is_swept_under_the_lock(contents: StoreContents, tmp_path: Path) -> None:
    """Whatever process id it bears: no other writer is at work, since none holds the lock. A reader's link stays."""
    store, gone = tmp_path / "store.duckdb", subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"{gone.pid}.part", f"{gone.pid}.part.wal", "1.part", f"{gone.pid}-0a.view"):  # 1 always runs
        (tmp_path / f".store.duckdb.{name}").write_bytes(b"half a store")
    for name in (".store.duckdb.1-0a.view", ".store.duckdb.note", ".other.duckdb.1.part"):
        (tmp_path / name).write_bytes(b"somebody's")
    publish_store(contents, store)
    kept = [".other.duckdb.1.part", ".store.duckdb.1-0a.view", ".store.duckdb.note", "store.duckdb"]
    assert sorted(os.listdir(tmp_path)) == kept


def test_a_link_to_a_store_stays_a_link(contents: StoreContents, store: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.duckdb"
    link.parent.mkdir()
    link.symlink_to(store)
    inode = store.stat().st_ino
    publish_store(contents, link)
    assert link.is_symlink() and store.stat().st_ino != inode and os.listdir(link.parent) == ["link.duckdb"]


def test_a_run_waits_for_whoever_changes_the_store(
    contents: StoreContents, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.read_bytes()
    monkeypatch.setattr(locks, "WAIT_S", 0.3)
    with locks.lock_store(store), pytest.raises(UserError, match="start this one again when that has ended"):
        publish_store(contents, store)
    assert capsys.readouterr().out == f"  waiting: another command is changing {store}\n"
    assert store.read_bytes() == before and os.listdir(store.parent) == ["store.duckdb"]
