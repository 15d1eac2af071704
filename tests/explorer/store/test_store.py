"""The store: each error with its message; what the queries give."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pytest

from explorer.listen.page import ListenPage
from explorer.state.store_views import StoreViews
from explorer.store import SCHEMA_VERSION, Store, StoreError, contract
from explorer.store.errors import (
    StoreBusyError,
    StoreDamagedError,
    StoreFormatError,
    StoreMissingError,
    StoreTableError,
    StoreVersionError,
    UnknownIdError,
)
from explorer.store.search import SORTABLE

SCHEMA_FOLDER = Path(__file__).resolve().parents[3] / "explorer"
SCHEMA = (SCHEMA_FOLDER / "schema.sql").read_text(encoding="utf-8")


def empty_store(path: Path, version: int = SCHEMA_VERSION, change: str = "") -> Path:
    with duckdb.connect(str(path)) as con:
        con.execute(SCHEMA.replace(f"CHECK (version = {SCHEMA_VERSION})", ""))
        con.execute("INSERT INTO store_info VALUES (?, 'a', 'c', 'unlearning', NULL)", [version])
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


@pytest.mark.parametrize("version", [0, 1, 3, SCHEMA_VERSION + 1])
def test_other_version_says_what_to_do(tmp_path, version):
    path = empty_store(tmp_path / "x.duckdb", version)
    said = f"has version {version}, this explorer reads version {SCHEMA_VERSION}: publish"
    with pytest.raises(StoreVersionError, match=said):
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
    path = empty_store(tmp_path / "x.duckdb", SCHEMA_VERSION + 1)
    with pytest.raises(StoreVersionError):
        Store(path)
    duckdb.connect(str(path)).close()  # a writer may come


def test_store_cannot_be_written_nor_reach_other_files(store, store_path):
    cursor = store.database.connection.cursor()
    with pytest.raises(duckdb.Error):
        cursor.execute("DELETE FROM scores")
    with pytest.raises(duckdb.Error):
        cursor.execute(f"SELECT * FROM read_text('{store_path}')")
    with pytest.raises(duckdb.Error):
        cursor.execute("SET enable_external_access = true")


def test_clips_come_generated_first(store):
    assert [(clip.clip_id, clip.kind) for clip in store.clips.list_scored()] == [
        *((i, "generated") for i in (1, 2, 3)),
        *((i, "track") for i in (101, 102)),
    ]


@pytest.mark.parametrize("bad", [0, 999, -1, 2**31, 10**30])
def test_unknown_ids_are_said(store, bad):
    for ask in (store.tracks.read, store.clips.read, store.tracks.read_sound, store.clips.read_sound):
        with pytest.raises(UnknownIdError, match="in this store"):
            ask(bad)


def test_scores_hold_every_track_once(store, made):
    scores = store.scores.read_frame(1, 1)
    assert len(scores) == made.TRACKS + made.DECOYS
    assert scores["rank"].tolist() == list(range(1, 81))
    assert scores["train_rank"].isna().equals(scores["is_decoy"].rename("train_rank"))
    assert store.scores.read_frame(1, 999).empty


def test_scores_of_some_tracks_come_as_asked(store):
    whole = store.scores.read_frame(1, 1).set_index("track_id")
    some = store.scores.read_rows(1, 1, [44, 3, 999, 17])
    assert some["track_id"].tolist() == [44, 3, 17]
    assert some["score"].tolist() == whole.loc[[44, 3, 17], "score"].tolist()
    assert store.scores.read_rows(1, 1, []).empty


def test_score_columns_are_the_scores(store):
    columns, whole = store.scores.read_columns(1, 2), store.scores.read_frame(1, 2).set_index("track_id")
    for name in ("is_decoy", "score", "score_norm", "match_bin", "p_value", "q_value", "above_noise"):
        np.testing.assert_array_equal(columns[name], whole.loc[columns["track_id"], name].to_numpy())
    assert np.isnan(columns["q_value"][columns["is_decoy"] | (columns["match_bin"] == 0)]).all()
    assert np.isfinite(columns["q_value"][~columns["is_decoy"] & (columns["match_bin"] > 0)]).all()


@pytest.mark.parametrize(
    ("text", "collection", "expected"),
    [
        ("", None, 80),
        ("etude", None, 9),  # Étude: accents and case apart; track 2 has a hostile title instead
        ("ÉTUDE minor", None, 9),
        ("etude zzz", None, 0),
        ("frederic", "Mutopia", None),
        ("%", None, 0),
        ("_", None, 0),
        ("' OR 1=1 --", None, 0),
        ("<img", None, 1),
        ("", "no such collection", 0),
    ],
)
def test_find_tracks(store, text, collection, expected):
    found = store.tracks.find(text, collection)
    tracks = store.tracks.read_many([int(i) for i in found])
    assert len(tracks) == len(found)
    if collection:
        assert {track.collection for track in tracks.values()} <= {collection}
    if expected is not None:
        assert len(found) == expected
    else:
        assert len(found) and {track.composer for track in tracks.values()} == {"Frédéric Chopin"}


def test_found_tracks_are_sorted_as_people_sort(store):
    for by in SORTABLE:
        ids = [int(i) for i in store.tracks.find(by=by)]
        tracks = store.tracks.read_many(ids)
        keys = [getattr(tracks[i], by).lower() for i in ids]
        plain = [key.encode("ascii", "ignore") if key.isascii() else key.replace("é", "e").encode() for key in keys]
        assert len(ids) == 80 and plain == sorted(plain)


def test_summaries_against_a_naive_count(store):
    for method_id in (1, 2):
        for clip_id, summary in store.scores.read_summaries(method_id).items():
            scores = store.scores.read_frame(method_id, clip_id)
            training = scores[~scores["is_decoy"]]
            assert (summary.tracks, summary.decoys) == (40, 40)
            assert summary.above_noise == training["above_noise"].sum()
            assert not (scores["above_noise"] & scores["is_decoy"]).any()
            assert summary.candidates == (training["match_bin"] > 0).sum()
            assert summary.can_tell == any(one.can_tell for one in store.claims.read_bins(method_id, clip_id))
            best_raw, best_norm = scores.nlargest(10, "score"), scores.nlargest(10, "score_norm")
            assert summary.decoys_top10_raw == best_raw["is_decoy"].sum()
            assert summary.decoys_top10_norm == best_norm["is_decoy"].sum()
            for shares, column in ((summary.shares_raw, "score"), (summary.shares_norm, "score_norm")):
                positive = training[column].clip(lower=0).sort_values(ascending=False)
                for share, count in zip(shares, (1, 10, 100), strict=True):
                    assert share == pytest.approx(positive.head(count).sum() / positive.sum())
            assert summary.largest_raw == scores["score"].abs().max()
            decoys = scores.loc[scores["is_decoy"], "score_norm"]
            wins = [(decoys < value).mean() for value in training["score_norm"]]
            assert summary.auc_norm == pytest.approx(sum(wins) / len(wins))
            ordered = training["score_norm"].sort_values(ascending=False).to_numpy()
            places = [round(40 ** (step / 39)) for step in range(40)]
            assert summary.spark == pytest.approx([ordered[place - 1] for place in places], rel=1e-6)


def test_clip_moments_sum_to_the_score(store, made):
    found = store.scores.read_clip_moments(1, 1, [made.SPAN_TRACK, 3, 60])
    scores = store.scores.read_frame(1, 1).set_index("track_id")["score"]
    assert found is not None and found.window_s == 2.0 / made.WINDOWS
    for track_id, influence in found.influence.items():
        assert sum(influence) == pytest.approx(scores.loc[track_id], rel=1e-4)
    assert store.scores.read_windows(1, 1) == (made.WINDOWS, found.window_s)
    assert store.scores.read_clip_moments(2, 1, [3]) is None and store.scores.read_windows(2, 1) == (0, 0.0)


def test_control_clip_sounds_as_its_track(store):
    assert store.clips.read_sound(101) == store.tracks.read_sound(1)


def test_diagnostics_run_along_training(store):
    found = store.runs.list_diagnostics(1)
    assert [(item.name, item.checkpoint_step) for item in found] == [
        ("decoys_top10_norm", 100),
        ("decoys_top10_norm", 2000),
        ("decoys_top10_raw", 100),
        ("decoys_top10_raw", 2000),
    ]


def test_the_run_names_its_model(store):
    assert store.runs.read_latest().model_sha256 and store.runs.read_latest().device


def test_threads_get_their_own_rows(store):
    def first_ids(clip_id: int) -> list[int]:
        return store.scores.read_frame(1, clip_id)["track_id"].head(5).tolist()

    clips = [1, 2, 3, 101, 102] * 20
    expected = {clip_id: first_ids(clip_id) for clip_id in set(clips)}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(first_ids, clips)) == [expected[clip_id] for clip_id in clips]


def test_planted_cases_stay_outside_the_comparison_with_decoys(made, tmp_path):
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE scores SET score_norm = score_norm + 20 WHERE clip_id = 3 AND train_rank IS NULL")
        con.execute("UPDATE scores SET score_norm = score_norm + 90 WHERE clip_id = 3 AND track_id = 5")
        con.execute("UPDATE tracks SET planted = 'rare' WHERE track_id IN (41, 5)")
        con.execute("DELETE FROM summaries")
        con.execute("DELETE FROM window_sums")
        con.execute((SCHEMA_FOLDER / "derived.sql").read_text(encoding="utf-8"))
    assert Store(path).scores.read_summaries(1)[3].auc_norm == 0.0


def test_the_store_names_the_method_that_the_page_opens_with_and_how_settled_each_is(store, made):
    assert store.info.default_method == "unlearning"
    assert {one.method_id: one.reliability for one in store.runs.list_methods()} == made.RELIABILITY


# -- damage, another writer, views -------------------------------------------------------------------------------------

BLOCK, HEADERS = 262_144, 3 * 4096  # bytes of a DuckDB file


def damage(whole: bytes, path: Path, block: int) -> Path:
    """A store with 64 bytes of one block turned round."""
    spoiled = bytearray(whole)
    start = HEADERS + block * BLOCK + 4096
    spoiled[start : start + 64] = bytes(byte ^ 0xFF for byte in spoiled[start : start + 64])
    path.write_bytes(spoiled)
    return path


def read_everything(path: Path) -> None:
    """All that pages and reports read of a store."""
    views = StoreViews(Store(path))
    page = ListenPage(views)
    try:
        for query in ({}, {"clip": "2", "method": "other"}, {"view": "holders"}):
            view = views.read_address(query)
            page.describe_table(view)
            page.describe_overview(view)
            page.describe_player(view)
        for clip in views.clips:
            views.store.clips.read_sound(clip.clip_id)
            for method in views.methods:
                views.store.scores.read_pairs(method.method_id, [(clip.clip_id, 3), (clip.clip_id, 17)])
                views.store.scores.read_frame(method.method_id, clip.clip_id)
        views.store.tracks.find("etude", by="title")
        for track_id in range(1, 81):
            views.store.tracks.read_sound(track_id)
        views.store.holders.read_groupings()
        views.store.runs.read_evaluations()
    finally:
        views.store.close()


def test_damage_anywhere_is_called_damage(store_path, tmp_path):
    """Block after block: what is read of it is told of in one line, at once or later, never by DuckDB's own error."""
    whole, told = store_path.read_bytes(), 0
    for block in range(0, (len(whole) - HEADERS) // BLOCK, 3):  # all of them take a while
        path = damage(whole, tmp_path / f"{block}.duckdb", block)
        try:
            read_everything(path)
        except StoreDamagedError as error:
            told += 1
            assert (
                "\n" not in str(error)
                and f"{path} is damaged (" in str(error)
                and "publish the store again" in str(error)
            )
        path.unlink()
    assert told >= 3


@pytest.mark.parametrize("length", [0.05, 0.3, 0.6])
def test_a_store_that_was_cut_short_is_damaged(store_path, tmp_path, length):
    path = tmp_path / "cut.duckdb"
    whole = store_path.read_bytes()
    path.write_bytes(whole[: int(length * len(whole))])
    with pytest.raises(StoreDamagedError, match=r"cut\.duckdb is damaged"):
        read_everything(path)


def test_a_damaged_header_is_not_another_process(store_path, tmp_path):
    """DuckDB's words for it hold "block", and so "lock"."""
    path = tmp_path / "x.duckdb"
    whole = bytearray(store_path.read_bytes())
    whole[4096 + 32] ^= 0xFF
    whole[2 * 4096 + 32] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(StoreDamagedError, match=r"is damaged .*block"):
        Store(path)


def test_a_file_that_another_process_writes_is_busy(store_path, tmp_path):
    path = Path(shutil.copyfile(store_path, tmp_path / "x.duckdb"))
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreBusyError, match="is being written by another process"):
            Store(path)
        process.stdin.close()
    Store(path).close()


@pytest.mark.parametrize("table", sorted(contract()))
def test_a_view_in_the_place_of_a_table_is_refused_before_it_runs(tmp_path, table):
    path = tmp_path / "x.duckdb"
    columns = ", ".join(f"NULL AS {name}" for name in sorted(contract()[table]))
    with duckdb.connect(str(path)) as con:
        for name in contract():
            if name != table:
                con.execute(f"CREATE TABLE {name} AS SELECT {SCHEMA_VERSION} AS version")
        con.execute(f"CREATE VIEW {table} AS SELECT {columns}, error('it ran') AS ran")
    with pytest.raises(StoreTableError, match=f"x.duckdb: {table} is a view and must be a table") as caught:
        Store(path)
    assert "it ran" not in str(caught.value)
