"""An index of sketches from which tracks are taken out with the store: its rows go, all else holds together."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from explorer.store import Store
from precompute.cli.main import main
from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.index import addition, layout
from precompute.removal import store as reduced_store
from precompute.removal.index import locate_index
from precompute.removal.removal import remove_tracks
from support import make_store, tiny
from support.tiny import write_index_run

GONE = [17, 1, 45]
WIDTH, CLIPS, WEIGHTS = 64, 3, 5


def model_of(store: Path) -> str:
    with duckdb.connect(str(store), read_only=True) as con:
        return con.execute("SELECT model_sha256 FROM runs").fetchone()[0]


def make_index(folder: Path, track_ids: list[int], weights: str | None) -> layout.Index:
    """An index of numbers drawn by chance, which `remove` does not look into."""
    rng, count = np.random.default_rng(0), len(track_ids)
    rows = layout.IndexRows(np.array(track_ids), np.array([f"{i:032x}" for i in track_ids]))
    unlearning = layout.UnlearningPart(
        numbers=rng.integers(-127, 128, (count, 1, WIDTH), np.int8),
        scale=rng.random((count, 1), np.float32),
        clips=rng.random((CLIPS, WIDTH), np.float32),
        noise=rng.random(count),
        cohort=rng.random((count, CLIPS)),
        lengths=np.ones(CLIPS),
        fisher=np.ones(WEIGHTS, np.float32),
    )
    dtrak = layout.DtrakPart(
        numbers=rng.standard_normal((count, 2, WIDTH)).astype(np.float16),
        scale=rng.random((count, 2), np.float32),
        clips=rng.random((CLIPS, WIDTH), np.float32),
    )
    cohort = layout.IndexCohort(["a"] * CLIPS, [1.0] * CLIPS, rng.random((CLIPS, 2)))
    said = {} if weights is None else {"weights": weights}
    manifest = {"width": WIDTH, "trained": 40, **said}
    parts = {"dtrak": dtrak, "unlearning": unlearning}
    layout.save_index(layout.Index(folder, manifest, rows, cohort, parts))
    return replace(layout.load_index(folder, check_sketches=True), rows=rows, parts=parts)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store.make_store(tmp_path_factory.mktemp("remove-index") / "shop")


@pytest.fixture
def store(shop: Path, tmp_path: Path) -> Path:
    shutil.copytree(shop.parent, tmp_path / "shop", symlinks=True)
    return tmp_path / "shop" / shop.name


def ids_of(store: Path) -> list[int]:
    with duckdb.connect(str(store), read_only=True) as con:
        return [row[0] for row in con.execute("SELECT track_id FROM tracks ORDER BY track_id").fetchall()]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_go_and_the_others_stay_bit_for_bit(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = store.with_suffix(".index")
    before = make_index(folder, ids_of(store), model_of(store))
    arguments = ["remove", *map(str, GONE), "--store", str(store)]
    assert main(arguments) == 0  # the index beside the store is found
    said = capsys.readouterr().out
    assert f"dropped 3 entries of the index {folder}: a new version is in place" in said
    assert "`precompute index` adds again what the corpus lists" in said and "The model still contains" in said
    after = layout.load_index(folder, check_sketches=True)
    kept = ~np.isin(before.rows.track_id, GONE)
    for few, all_of in ((after.rows, before.rows), *((after.parts[m], before.parts[m]) for m in before.parts)):
        for name in getattr(few, "OF_TRACKS", ("track_id", "digest")):
            assert np.array_equal(getattr(few, name), getattr(all_of, name)[kept]), name
        for name in getattr(few, "SHARED", ()):
            assert np.array_equal(getattr(few, name), getattr(all_of, name)), name
    assert after.rows.track_id.tolist() == ids_of(store) and after.manifest["tracks"] == len(after.rows)
    assert np.array_equal(after.cohort.latents, before.cohort.latents)
    rest = {"width", "trained", "weights"}
    assert {name: after.manifest[name] for name in rest} == {name: before.manifest[name] for name in rest}
    # No byte of what was taken out is left, and no file that the manifest does not name.
    held = b"".join(files_of(folder).values())
    for part in before.parts.values():
        assert not any(row.tobytes() in held for row in part.numbers[~kept]) and part.numbers[1].tobytes() in held
    assert len(files_of(folder)) == 8


def test_an_index_elsewhere_is_named_and_what_it_does_not_hold_is_no_mistake(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    make_index(folder, [i for i in ids_of(store) if i != 17], model_of(store))
    done = remove_tracks(store, GONE, index=folder)
    assert (done.index, done.index_rows) == (folder, 2)
    before = files_of(folder)
    make_index(store.with_suffix(".index"), [3], "of another model")
    done = remove_tracks(store, [2], skip_index=True)
    assert done.index is None and files_of(folder) == before and 2 not in ids_of(store)


def test_the_run_s_config_says_where_its_index_is(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "named"
    config = f'[index]\nfolder = "{folder}"\n'
    assert locate_index(store, config) is None
    make_index(folder, [1], "w")
    assert locate_index(store, config) == folder and locate_index(store, "") is None
    make_index(store.with_suffix(".index"), [1], "w")
    assert locate_index(store, "") == locate_index(store, "no [ TOML") == store.with_suffix(".index")


def of_another_model(store: Path, folder: Path) -> None:
    make_index(folder, ids_of(store), "0" * 64)


def of_no_named_model(store: Path, folder: Path) -> None:
    make_index(folder, ids_of(store), None)


def damaged(store: Path, folder: Path) -> None:
    make_index(folder, ids_of(store), model_of(store))
    next(folder.glob("tracks-*")).write_bytes(b"music")


def not_there(store: Path, folder: Path) -> None:
    folder.mkdir()


def all_of_it(store: Path, folder: Path) -> None:
    make_index(folder, [17], model_of(store))


MISTAKES = {
    of_another_model: "made with another model (000000000000) than the store's scores",
    of_no_named_model: "does not say which weights it was made with",
    damaged: "not what the manifest says",
    not_there: "no index here",
    all_of_it: "nothing would be left of it",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_changes_neither(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake) -> None:
    folder = tmp_path / "index"
    mistake(store, folder)
    kept, before = store.read_bytes(), files_of(folder)
    assert main(["remove", "17", "--audio", "--store", str(store), "--index", str(folder)]) == 1
    said = capsys.readouterr().err
    assert MISTAKES[mistake] in said and said.startswith("precompute: ") and said.count("\n") == 1
    assert store.read_bytes() == kept and files_of(folder) == before
    assert (store.parent / "audio/track017.flac").is_file()


def test_a_failure_of_the_store_leaves_the_index(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.with_suffix(".index")
    make_index(folder, ids_of(store), model_of(store))
    kept, before = store.read_bytes(), files_of(folder)

    def full(con) -> None:
        raise duckdb.IOException("No space left on device")

    monkeypatch.setattr(reduced_store, "_write_scores", full)
    with pytest.raises(UserError, match="the old one is as it was"):
        remove_tracks(store, GONE)
    assert store.read_bytes() == kept and files_of(folder) == before


def test_a_full_disk_while_the_index_is_written_changes_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.with_suffix(".index")
    make_index(folder, ids_of(store), model_of(store))
    kept, before, write = store.read_bytes(), files_of(folder), layout.write_array

    def full(handle, values, places) -> None:
        write(handle, values, places)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(layout, "write_array", full)
    with pytest.raises(UserError, match=r"could not be written \(No space left on device\); nothing was changed"):
        remove_tracks(store, GONE)
    assert store.read_bytes() == kept and files_of(folder) == before


def test_where_the_index_cannot_be_replaced_nothing_changes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.with_suffix(".index")
    make_index(folder, ids_of(store), model_of(store))
    kept, before = store.read_bytes(), files_of(folder)

    write = layout.write_atomically

    def refused(path: Path, content: Any) -> None:
        if path.name == layout.MANIFEST:
            raise OSError(30, os.strerror(30))
        write(path, content)

    monkeypatch.setattr(layout, "write_atomically", refused)
    with pytest.raises(UserError, match=r"the index could not be replaced .*; nothing was changed"):
        remove_tracks(store, GONE, delete_audio=True)
    assert store.read_bytes() == kept and files_of(folder) == before
    assert (store.parent / "audio/track017.flac").is_file()


KILLED = """
import os, signal, sys
wanted, when = sys.argv[1:3]

def kill_at(name, place):
    if os.path.basename(str(place)).startswith(wanted) and name == when:
        os.kill(os.getpid(), signal.SIGKILL)

def watch(name, path_of):
    real = getattr(os, name)
    def call(*args, **options):
        kill_at("before " + name, path_of(args))
        real(*args, **options)
        kill_at("after " + name, path_of(args))
    setattr(os, name, call)

watch("replace", lambda args: args[1])
watch("unlink", lambda args: args[0])
from precompute.cli.main import main
sys.exit(main(sys.argv[3:]))
"""
MOMENTS = [  # file and call at which the process is killed
    ("tracks-", "after replace"),
    ("manifest.json", "before replace"),
    ("manifest.json", "after replace"),
    ("music.csv", "after replace"),
    ("track017.flac", "after unlink"),
    ("store.duckdb", "before replace"),
    ("store.duckdb", "after replace"),
]


def state_of(store: Path, manifest: Path) -> tuple:
    """All that a removal changes."""
    files = {str(path.relative_to(store.parent)) for path in store.parent.rglob("*")}
    return tiny.tables(store), files_of(store.with_suffix(".index")), manifest.read_bytes(), files


@pytest.mark.parametrize(("name", "when"), MOMENTS, ids=[f"{when} {name}" for name, when in MOMENTS])
def test_killed_anywhere_the_same_command_finishes(
    store: Path, tmp_path: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str], name: str, when: str
) -> None:
    manifest = store.parent / "music.csv"
    manifest.write_text("track_id,title\n1,a\n2,b\n17,c\n")
    make_index(store.with_suffix(".index"), ids_of(store), model_of(store))
    twin = tmp_path / "twin" / store.name
    shutil.copytree(store.parent, twin.parent, symlinks=True)

    def command(path: Path) -> list[str]:
        options = ["--audio", "--manifest", str(path.parent / "music.csv"), "--store", str(path)]
        return ["remove", *map(str, GONE), *options]

    killed = subprocess.run([sys.executable, "-c", KILLED, name, when, *command(store)], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    Store(store).close()  # whole at any moment
    assert main(command(store)) == 0 and main(command(twin)) == 0
    assert state_of(store, manifest) == state_of(twin, twin.parent / "music.csv")
    assert manifest.read_text() == "track_id,title\n2,b\n" and not (store.parent / "audio/track017.flac").exists()
    capsys.readouterr()
    before = store.read_bytes()
    assert main(command(store)) == 0 and store.read_bytes() == before  # once more: nothing is done twice
    assert "is without tracks 1, 17, 45 already: the same command took them out before" in capsys.readouterr().out


def test_store_and_index_of_a_run_still_go_together(finished, tmp_path: Path) -> None:
    """An index made by the program names its weights; after a removal `attribute` finds store and index in step."""
    folder, store = tmp_path / "run.index", tmp_path / "store.duckdb"
    path = write_index_run(finished.root, tmp_path, folder, work=f'"{finished.out}/work"')
    shutil.copy(finished.store, store)
    assert main(["index", "--config", str(path)]) == 0
    config = RunConfig.load(path)
    addition.check_store(store, layout.load_index(folder, check_sketches=True), config)
    track = ids_of(store)[0]
    assert main(["remove", str(track), "--store", str(store), "--index", str(folder)]) == 0
    index = layout.load_index(folder, check_sketches=True)
    assert track not in index.rows.track_id and len(index.rows) == 31
    addition.check_store(store, index, config).check_model(index.manifest["weights"])
    layout.check_settings(index.manifest, config, folder)
