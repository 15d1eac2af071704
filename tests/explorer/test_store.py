"""The store: each error with its message; what the queries give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from explorer.store import (
    SCHEMA_VERSION,
    Store,
    StoreError,
    StoreFormatError,
    StoreMissingError,
    StoreTableError,
    StoreVersionError,
    UnknownIdError,
)

SCHEMA = (Path(__file__).resolve().parents[2] / "explorer" / "schema.sql").read_text(encoding="utf-8")


def empty_store(path: Path, version: int = SCHEMA_VERSION, change: str = "") -> Path:
    with duckdb.connect(str(path)) as con:
        con.execute(SCHEMA.replace("CHECK (version = 1)", ""))
        con.execute("INSERT INTO store_info VALUES (?, 'a', 'c', NULL)", [version])
        if change:
            con.execute(change)
    return path


def test_version_is_that_of_the_contract():
    assert f"CHECK (version = {SCHEMA_VERSION})" in SCHEMA


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreMissingError, match=r"no store at .*nowhere\.duckdb: make one with `make demo`"):
        Store(tmp_path / "nowhere.duckdb")


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_not_a_duckdb_file(tmp_path, content):
    path = tmp_path / "x.duckdb"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert isinstance(caught.value, StoreFormatError | StoreTableError)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreMissingError):
        Store(tmp_path)


@pytest.mark.parametrize("version", [0, 2])
def test_other_version_says_what_to_do(tmp_path, version):
    path = empty_store(tmp_path / "x.duckdb", version)
    with pytest.raises(StoreVersionError, match=f"has version {version}, this explorer reads version 1: publish"):
        Store(path)


def test_no_version(tmp_path):
    path = empty_store(tmp_path / "x.duckdb", change="DELETE FROM store_info")
    with pytest.raises(StoreVersionError, match="has no version"):
        Store(path)


def test_another_database(tmp_path):
    path = tmp_path / "x.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE other (a INTEGER)")
    with pytest.raises(StoreTableError, match="has no table store_info, so it is not a Whence store"):
        Store(path)


def test_missing_table_and_column_are_named(tmp_path):
    with pytest.raises(StoreTableError, match="has no table moments"):
        Store(empty_store(tmp_path / "a.duckdb", change="DROP TABLE moments"))
    with pytest.raises(StoreTableError, match="table diagnostics lacks meaning"):
        Store(empty_store(tmp_path / "b.duckdb", change="ALTER TABLE diagnostics DROP COLUMN meaning"))


def test_failed_opening_leaves_the_file_free(tmp_path):
    path = empty_store(tmp_path / "x.duckdb", 2)
    with pytest.raises(StoreVersionError):
        Store(path)
    duckdb.connect(str(path)).close()  # a writer may come


def test_store_cannot_be_written_nor_reach_other_files(store, store_path):
    cursor = store._con.cursor()
    with pytest.raises(duckdb.Error):
        cursor.execute("DELETE FROM scores")
    with pytest.raises(duckdb.Error):
        cursor.execute(f"SELECT * FROM read_text('{store_path}')")
    with pytest.raises(duckdb.Error):
        cursor.execute("SET enable_external_access = true")


def test_clips_come_generated_first(store):
    assert [(clip.clip_id, clip.kind) for clip in store.clips()] == [
        *((i, "generated") for i in (1, 2, 3)),
        *((i, "track") for i in (101, 102)),
    ]


@pytest.mark.parametrize("bad", [0, 999, -1, 2**31, 10**30])
def test_unknown_ids_are_said(store, bad):
    for ask in (store.track, store.clip, store.track_sound, store.clip_sound):
        with pytest.raises(UnknownIdError, match="in this store"):
            ask(bad)


def test_scores_hold_every_track_once(store, made):
    scores = store.scores(1, 1)
    assert len(scores) == made.TRACKS + made.DECOYS
    assert sorted(scores["rank"]) == sorted(scores["raw_rank"]) == list(range(1, 81))
    assert scores["train_rank"].isna().equals(scores["is_decoy"].rename("train_rank"))
    assert scores.sort_values("raw_rank")["score"].is_monotonic_decreasing
    assert store.scores(1, 999).empty


def test_control_clip_sounds_as_its_track(store):
    assert store.clip_sound(101) == store.track_sound(1)


def test_diagnostics_run_along_training(store):
    found = store.diagnostics(1)
    assert [(item.name, item.checkpoint_step) for item in found] == [
        ("decoys_top10_norm", 100),
        ("decoys_top10_norm", 2000),
        ("decoys_top10_raw", 100),
        ("decoys_top10_raw", 2000),
    ]


def test_the_run_names_its_model(store):
    assert store.run().model_sha256 and store.run().device


def test_threads_get_their_own_rows(store):
    def first_ids(clip_id: int) -> list[int]:
        return store.scores(1, clip_id)["track_id"].head(5).tolist()

    clips = [1, 2, 3, 101, 102] * 20
    expected = {clip_id: first_ids(clip_id) for clip_id in set(clips)}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(first_ids, clips)) == [expected[clip_id] for clip_id in clips]
