"""Tracks taken out of a store: nothing of them is left, the rest holds together, and a failure changes nothing."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pytest

from explorer.store import Store
from precompute.cli.main import main
from precompute.errors import UserError
from precompute.removal import store as reduced_store
from precompute.removal.files import remove_manifest_rows
from precompute.removal.removal import remove_tracks
from precompute.removal.store import adjust_candidates, is_above_noise, renew_scores
from support import make_store

ROOT = Path(__file__).resolve().parents[3]
GONE = [17, 2, 25, 60]  # two of them above noise for a clip, one for the model, a decoy
CLAIMED = [(method, clip) for method in (1, 2) for clip in (1, 2, 3, 101)]  # control 102 goes with track 2
HAS_TRACK = "SELECT table_name, column_name FROM information_schema.columns WHERE column_name LIKE '%track_id'"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with passages, aspects and evaluations, its audio beside it."""
    path = make_store.make_store(tmp_path_factory.mktemp("remove") / "shop")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM aspects")
        con.execute("DELETE FROM passages")
        con.execute("DELETE FROM score_parts")
        con.execute(
            "INSERT INTO passages VALUES (1, 17, 1, 0, 1, 0, 1, 0, 0.9, 0.01), (1, 2, 1, 0, 1, 0, 1, 0, 0.9, 0.01)"
        )
        con.execute("INSERT INTO aspects VALUES (1, 17, 'melody', 90), (2, 3, 'melody', 90)")
        con.execute("INSERT INTO score_parts SELECT 1, 1, track_id, 0, 1, 0 FROM tracks WHERE track_id < 30")
        con.execute('INSERT INTO evaluations VALUES (\'targets\', \'{"rows": [{"track_id": 17, "rank": 1}]}\')')
        con.execute("INSERT INTO evaluations VALUES ('titles', '{\"best\": [\"Nocturne No. 17 in D minor\"]}')")
        con.execute("INSERT INTO evaluations VALUES ('agreement', '{\"steps\": 17, \"pearson\": 0.5}')")
    return path


@pytest.fixture
def store(shop: Path, tmp_path: Path) -> Path:
    shutil.copytree(shop.parent, tmp_path / "shop", symlinks=True)
    return tmp_path / "shop" / shop.name


def rows(store: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(store), read_only=True) as con:
        return con.execute(sql).fetchall()


def test_no_row_of_any_table_names_what_was_taken_out(store: Path) -> None:
    before = rows(store, "SELECT * FROM tracks WHERE track_id NOT IN (1, 17, 45) ORDER BY track_id")
    done = remove_tracks(store, [17, 1, 45, 17])
    assert done.tracks == (1, 17, 45) and done.clips == (101,) and done.evaluations == ("targets", "titles")
    for table, column in rows(store, HAS_TRACK):
        assert rows(store, f"SELECT count(*) FROM {table} WHERE {column} IN (1, 17, 45)") == [(0,)], (table, column)
    for table in ("clips", "scores", "moments", "summaries"):
        assert rows(store, f"SELECT count(*) FROM {table} WHERE clip_id = 101") == [(0,)]
    assert rows(store, "SELECT * FROM tracks ORDER BY track_id") == before
    assert rows(store, "SELECT name FROM evaluations") == [("agreement",)]
    assert rows(store, "SELECT count(*) FROM passages") == rows(store, "SELECT count(*) FROM aspects") == [(1,)]
    assert b"Nocturne No. 17 in D minor" not in store.read_bytes()  # nor in what was free space
    assert sorted(os.listdir(store.parent)) == ["audio", "clips", "outside", "store.duckdb"]
    Store(store).close()


def test_ranks_go_from_one_on_in_the_same_order(store: Path) -> None:
    old = rows(
        store, "SELECT method_id, clip_id, track_id FROM scores WHERE track_id NOT IN (17, 60) ORDER BY 1, 2, rank"
    )
    remove_tracks(store, [17, 60])
    new = rows(store, "SELECT method_id, clip_id, track_id FROM scores ORDER BY method_id, clip_id, rank")
    assert new == old
    listed = "SELECT list({0} ORDER BY {0}) FILTER ({0} IS NOT NULL) AS found FROM scores GROUP BY method_id, clip_id"
    odd = f"SELECT count(*) FROM ({listed})"
    for rank, count in (("rank", 78), ("train_rank", 39)):
        assert rows(store, f"{odd.format(rank)} WHERE found <> range(1, {count + 1})") == [(0,)]


def columns_of(store: Path, table: str, of: str, *values: int) -> dict[str, np.ndarray]:
    """Columns of scores or track_claims by track, with is_decoy; NaN where absent."""
    with duckdb.connect(str(store), read_only=True) as con:
        sql = f"SELECT x.*, is_decoy FROM {table} x JOIN tracks USING (track_id) WHERE {of} ORDER BY track_id"
        found = con.execute(sql, list(values)).fetchnumpy()
    return {name: np.ma.filled(values.astype(float), np.nan) for name, values in found.items()}


def naive_q_values(p: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Weighted Benjamini-Hochberg, the long way: the least rate at which a candidate is found."""
    kinds = [b for b in set(bins.tolist())]
    weight = np.array([len(p) / (len(kinds) * (bins == b).sum()) for b in bins])
    q = []
    for i in range(len(p)):
        levels = p / weight
        q.append(min(1.0, *(len(p) * v / (levels <= v).sum() for v in levels if v >= levels[i])))
    return np.array(q)


def test_q_values_are_made_again_over_the_family_that_is_left(store: Path) -> None:
    kept = ("score", "std_error", "score_norm", "std_error_norm", "match_bin", "p_value")
    before = {key: columns_of(store, "scores", "method_id = ? AND clip_id = ?", *key) for key in CLAIMED}
    remove_tracks(store, GONE)
    changed = 0
    for key in CLAIMED:
        old, new = before[key], columns_of(store, "scores", "method_id = ? AND clip_id = ?", *key)
        left = ~np.isin(old["track_id"], GONE)
        for name in kept:
            assert np.array_equal(new[name], old[name][left], equal_nan=True), name
        candidate = np.isfinite(new["p_value"]) & (new["is_decoy"] == 0)
        wanted = naive_q_values(new["p_value"][candidate], new["match_bin"][candidate])
        assert np.allclose(new["q_value"][candidate], wanted, rtol=1e-6)
        assert np.isnan(new["q_value"][~candidate]).all()
        assert np.array_equal(new["above_noise"] == 1, candidate & (np.nan_to_num(new["q_value"], nan=1) <= 0.1000001))
        changed += int((np.nan_to_num(new["q_value"]) != np.nan_to_num(old["q_value"][left])).sum())
    assert changed > 0


def test_bins_are_counted_again_and_one_without_candidates_goes(store: Path) -> None:
    nulls = "SELECT method_id, clip_id, match_bin, null_rows, null_works FROM match_bins"
    before = {row[:3]: row[3:] for row in rows(store, nulls)}
    gone = [i for i in range(1, 41) if make_store.bin_of(1, i) == 1]  # all candidates of clip 1 of the same style
    remove_tracks(store, [*gone, 60])
    counted = rows(
        store,
        "SELECT method_id, clip_id, match_bin, count(*) FILTER (NOT is_decoy), count(*) FILTER (is_decoy) FROM scores"
        " JOIN tracks USING (track_id) WHERE match_bin > 0 GROUP BY ALL HAVING count(*) FILTER (NOT is_decoy) > 0"
        " ORDER BY ALL",
    )
    table = rows(store, "SELECT method_id, clip_id, match_bin, candidates, decoys FROM match_bins ORDER BY ALL")
    assert table == counted and (1, 1, 1) not in {row[:3] for row in table} and (1, 1, 2) in {row[:3] for row in table}
    assert all(before[row[:3]] == row[3:] for row in rows(store, nulls))
    # one bin is left of clip 1: its candidates now have the whole weight
    [(tested, null_rows, can_tell)] = rows(
        store, "SELECT candidates, null_rows, can_tell FROM match_bins WHERE method_id = 1 AND clip_id = 1"
    )
    assert can_tell == (tested / (1 + null_rows) <= 0.10)


def test_claims_about_tracks_are_made_again(store: Path) -> None:
    old = columns_of(store, "track_claims", "method_id = 1")
    remove_tracks(store, GONE)
    new, left = columns_of(store, "track_claims", "method_id = 1"), ~np.isin(old["track_id"], GONE)
    for name in ("track_id", "score_mean", "p_value"):
        assert np.array_equal(new[name], old[name][left], equal_nan=True), name
    trained = new["is_decoy"] == 0
    wanted = naive_q_values(new["p_value"][trained], np.zeros(trained.sum()))
    assert np.allclose(new["q_value"][trained], wanted, rtol=1e-6) and np.isnan(new["q_value"][~trained]).all()
    above = dict(
        rows(
            store,
            "SELECT track_id, count(*) FILTER (above_noise) FROM scores JOIN clips USING (clip_id)"
            " WHERE method_id = 1 AND kind = 'generated' GROUP BY track_id",
        )
    )
    assert new["clips_above"].tolist() == [above[int(i)] for i in new["track_id"]] and max(above.values()) > 0
    assert np.array_equal(new["is_hub"] == 1, (new["clips_above"] >= 3) & (new["clips_above"] > 0.2 * 3))


def test_a_summary_counts_what_is_left(store: Path) -> None:
    remove_tracks(store, [17, 60])
    of = "FROM {} WHERE method_id = 1 AND clip_id = 1"
    [(above,)] = rows(store, "SELECT count(*) " + of.format("scores") + " AND above_noise")
    sums = "SELECT sum(candidates), bool_or(can_tell) " + of.format("match_bins")
    [(candidates, can_tell)] = rows(store, sums)
    summary = "SELECT tracks, decoys, above_noise, candidates, can_tell " + of.format("summaries")
    assert rows(store, summary) == [(39, 39, above, candidates, can_tell)] and above > 0


@pytest.mark.parametrize("table", ["scores", "track_claims"])
def test_without_a_loss_nothing_changes(finished, shop: Path, table: str) -> None:
    """Made again over all tracks, q-values, claims and ranks are those that the run made."""
    for store in (finished.store, shop):
        if table == "scores":
            columns = columns_of(store, table, "method_id = 1 AND clip_id = 1")
            whole = {"is_decoy": bool, "match_bin": int, "rank": int}
            again = renew_scores({name: v.astype(whole.get(name, float)) for name, v in columns.items()})
        else:
            columns = columns_of(store, table, "method_id = 1")
            none = np.zeros(len(columns["p_value"]), int)
            again = {"q_value": adjust_candidates(columns["p_value"], none, columns["is_decoy"] == 0)}
            again["above_noise"] = is_above_noise(again["q_value"])
        for name in set(again) & {"q_value", "above_noise", "rank", "train_rank"}:
            assert np.allclose(again[name].astype(float), columns[name], rtol=1e-6, equal_nan=True), name


def test_the_store_says_so_and_twice_is_twice(store: Path) -> None:
    remove_tracks(store, [17])
    remove_tracks(store, [18, 19])
    note = rows(store, "SELECT note FROM store_info")[0][0]
    assert note.startswith("demo run: ") and "1 track was taken out on 20" in note and "2 tracks were taken out" in note
    assert "The model still contains what was taken out" in note


def test_sound_is_deleted_where_asked(store: Path) -> None:
    audio = store.parent / "audio"
    path = audio / "track017.flac"
    done = remove_tracks(store, [18], delete_audio=False)
    assert path.is_file() and not done.deleted_files
    outside = store.parent / "outside" / "secret.wav"
    done = remove_tracks(store, [17, make_store.ESCAPING, make_store.LINKED, make_store.MISSING], delete_audio=True)
    assert done.deleted_files == (path,) and not path.exists()
    assert outside.is_file() and (audio / "link.wav").is_symlink()  # what leads outside is not ours to delete
    assert (audio / "track018.mp3").is_file()


def test_sound_that_another_track_uses_stays(store: Path) -> None:
    with duckdb.connect(str(store)) as con:
        (path,) = con.execute("SELECT audio_path FROM tracks WHERE track_id = 39").fetchone()
        names = [row[0] for row in con.execute("DESCRIBE tracks").fetchall()]
        others = ", ".join("900" if name == "track_id" else name for name in names)
        con.execute(f"INSERT INTO tracks SELECT {others} FROM tracks WHERE track_id = 39")
    done = remove_tracks(store, [39], delete_audio=True)
    assert done.deleted_files == () and done.shared_files == (store.parent.resolve() / "audio" / path,)
    assert done.shared_files[0].is_file()


def test_a_manifest_loses_its_rows_and_nothing_else(store: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    text = 'title,track_id,note\r\n"a, ""b""\r\nc",17,x\r\nWaltz,18,"y, z"\r\nshort\r\n'
    manifest.write_bytes(text.encode())
    assert remove_tracks(store, [17], manifest=manifest).manifest_rows == 1
    assert manifest.read_bytes() == b'title,track_id,note\r\nWaltz,18,"y, z"\r\nshort\r\n'
    assert remove_manifest_rows(manifest, [99])[1] == 0


def unknown(store: Path) -> list[str]:
    return ["17", "4711"]


def other_version(store: Path) -> list[str]:
    with duckdb.connect(str(store)) as con:
        con.execute("DROP TABLE store_info")
        con.execute(
            "CREATE TABLE store_info AS SELECT 2 AS version, 'audio' AS track_root, 'clips' AS clip_root, '' AS note"
        )
    return ["17"]


def not_a_store(store: Path) -> list[str]:
    store.write_bytes(b"music")
    return ["17"]


def gone(store: Path) -> list[str]:
    store.unlink()
    return ["17"]


def nothing(store: Path) -> list[str]:
    return []


def everything(store: Path) -> list[str]:
    return [str(i) for i in range(1, 41)]


def no_manifest(store: Path) -> list[str]:
    (store.parent / "m.csv").write_text("id,title\n17,x\n")
    return ["17", "--manifest", str(store.parent / "m.csv")]


def half_a_group(store: Path) -> list[str]:
    return ["--of", "Amy Beach"]


def no_grouping(store: Path) -> list[str]:
    return ["--by", "planet", "--of", "Amy Beach"]


def nobody(store: Path) -> list[str]:
    return ["--by", "composer", "--of", "Nobody"]


MISTAKES = {
    unknown: "has no track 4711; nothing was changed",
    other_version: "has version 2, this explorer reads version 4",
    not_a_store: "is not a DuckDB file",
    gone: "no store at",
    nothing: "name at least one track",
    everything: "would take out every training track",
    no_manifest: "its header has no column track_id; nothing was changed",
    half_a_group: "--by and --of go together",
    no_grouping: "has no such grouping; it has composer, rights holder, collection, any role",
    nobody: "no training track of",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_one_line_and_changes_nothing(store: Path, capsys: pytest.CaptureFixture[str], mistake) -> None:
    arguments = mistake(store)
    before = store.read_bytes() if store.exists() else None
    listing = sorted(os.listdir(store.parent))
    assert main(["remove", "--store", str(store), "--audio", *arguments]) == 1
    said = capsys.readouterr().err
    assert MISTAKES[mistake] in said and said.startswith("precompute: ") and said.count("\n") == 1
    assert (store.read_bytes() if store.exists() else None) == before and sorted(os.listdir(store.parent)) == listing
    assert (store.parent / "audio/track017.flac").is_file()


def test_a_group_by_name(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", "--by", "composer", "--of", "Amy Beach", "--store", str(store)]) == 0
    said = capsys.readouterr().out
    assert "removed tracks 4, 9, 14, 19, 24, 29, 34, 39 from" in said and "The model still contains" in said
    assert rows(store, "SELECT count(*) FROM tracks WHERE composer = 'Amy Beach' AND NOT is_decoy") == [(0,)]


def test_a_failure_while_writing_leaves_the_old_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.read_bytes()

    def full(con) -> None:
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr(reduced_store, "_write_scores", full)
    with pytest.raises(UserError, match=r"the old one is as it was \(No space left"):
        remove_tracks(store, [17], delete_audio=True)
    assert store.read_bytes() == before and (store.parent / "audio/track017.flac").is_file()
    assert sorted(os.listdir(store.parent)) == ["audio", "clips", "outside", "store.duckdb"]


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root may write everywhere: as nobody, then. Anybody else is somebody else already."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if own == 0:
            os.seteuid(own)


@pytest.mark.parametrize("audio", [True, False])
def test_a_folder_that_cannot_be_written(shop: Path, audio: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="whence-remove-"))
    try:
        shutil.copytree(shop.parent, folder / "shop", symlinks=True)
        inside = [path for path in (folder / "shop").iterdir() if not path.is_symlink()]
        for path in (folder, folder / "shop", *inside):
            path.chmod(0o555 if path.is_dir() else 0o444)
        store = folder / "shop" / shop.name
        before = store.read_bytes()
        told = r"store\.duckdb: its folder cannot be written .*nothing was changed"
        with somebody_else(), pytest.raises(UserError, match=told):
            remove_tracks(store, [17], delete_audio=audio)
        assert store.read_bytes() == before and sorted(os.listdir(store.parent)) == sorted(os.listdir(shop.parent))
        assert (store.parent / "audio/track017.flac").is_file()
    finally:
        for path in (folder, folder / "shop", *inside):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_sound_in_a_folder_that_cannot_be_written(shop: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="whence-remove-"))
    store, audio = folder / "shop" / shop.name, folder / "shop/audio"
    try:
        shutil.copytree(shop.parent, folder / "shop", symlinks=True)
        for path in (folder, folder / "shop"):
            path.chmod(0o777)
        store.chmod(0o644)
        audio.chmod(0o555)
        before = store.read_bytes()
        with somebody_else(), pytest.raises(UserError, match="cannot be deleted, its folder cannot be written"):
            remove_tracks(store, [17], delete_audio=True)
        assert store.read_bytes() == before and (audio / "track017.flac").is_file()
    finally:
        audio.chmod(0o755)
        shutil.rmtree(folder)


def test_a_group_that_was_taken_out_by_the_same_command_is_no_mistake(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["remove", "--by", "composer", "--store", str(store), "--of"]
    assert main([*command, "Amy Beach"]) == 0
    before = store.read_bytes()
    assert main([*command, "Amy Beach"]) == 0
    assert "is without these tracks already" in capsys.readouterr().out
    assert main([*command, "Amy Baech"]) == 1 and main(["remove", "4711", "--store", str(store)]) == 1
    assert store.read_bytes() == before


def test_two_at_once_both_take_out_their_tracks(store: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "precompute", "remove", "--store", str(store)]
    both = [
        subprocess.Popen([*command, str(i)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for i in (17, 18)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert rows(store, "SELECT count(*) FROM tracks WHERE track_id IN (17, 18)") == [(0,)]
    assert rows(store, "SELECT note FROM store_info")[0][0].count("1 track was taken out") == 2
    assert sorted(os.listdir(store.parent)) == ["audio", "clips", "outside", "store.duckdb"]


def test_a_damaged_store_is_told_of_and_stays(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever block is damaged: one line and nothing changed, or a removal that did not need it."""
    whole = store.read_bytes()
    told = 0
    for start in range(3 * 4096, len(whole) - 262_144, 5 * 262_144):  # headers, then blocks
        spoiled = bytearray(whole)
        spoiled[start + 100 : start + 200] = bytes(byte ^ 0xFF for byte in spoiled[start + 100 : start + 200])
        store.unlink()  # DuckDB must not take it for the file that it had open
        store.write_bytes(spoiled)
        if main(["remove", "17", "--store", str(store)]):
            said = capsys.readouterr().err
            assert "store.duckdb is damaged (" in said and said.count("\n") == 1
            assert store.read_bytes() == spoiled
            told += 1
    assert told


def test_readers_keep_the_old_version(store: Path) -> None:
    reader = Store(store)
    remove_tracks(store, [17])
    assert reader.tracks.read(17).track_id == 17
    reader.close()


def test_the_manifest_reader_keeps_a_byte_order_mark() -> None:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write("\ufefftrack_id,title\n1,a\n2,b\n".encode())
        file.flush()
        data, went = remove_manifest_rows(Path(file.name), [2])
    assert went == 1 and data.decode() == "\ufefftrack_id,title\n1,a\n"
    assert list(csv.DictReader(io.StringIO(data.decode("utf-8-sig")))) == [{"track_id": "1", "title": "a"}]
