"""`evaluate store`: what was evaluated after a run, put into its store."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from explorer.store import Store
from precompute.cli.main import main
from precompute.common.results import add_options
from precompute.errors import UserError
from precompute.store import publication
from precompute.store.evaluations import collect_evaluations, store_evaluations

SHIPPED = Path(__file__).resolve().parents[3] / "assets/demo/store.duckdb"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(SHIPPED, tmp_path / "store.duckdb"))


def weights(store: Path) -> str:
    opened = Store(store)
    try:
        return opened.runs.read_latest().model_sha256
    finally:
        opened.close()


def keep(folder: Path, name: str, model: str, value: int = 1) -> None:
    folder.mkdir(exist_ok=True)
    kept = {
        "command": f"python -m precompute evaluate {name} --count 8",
        "model_sha256": model,
        "rows": [{"value": value}],
    }
    (folder / f"{name}.json").write_text(json.dumps(kept))


def evaluations(store: Path) -> dict[str, str]:
    opened = Store(store)
    try:
        return opened.runs.read_evaluations()
    finally:
        opened.close()


def others(store: Path) -> dict[str, int]:
    """Rows of every other table, and a sum over all scores."""
    with duckdb.connect(str(store), read_only=True) as connection:
        names = [row[0] for row in connection.execute("SHOW TABLES").fetchall() if row[0] != "evaluations"]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
        return counts | {"sum": connection.execute("SELECT sum(hash(score, track_id)) FROM scores").fetchone()[0]}


def test_a_result_says_how_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["evaluate", "planted", "--method", "clap", "--exemplars", str(tmp_path / "my files")]
    monkeypatch.setattr("sys.argv", ["precompute/__main__.py", *typed])
    command = "python -m precompute evaluate planted"
    assert add_options(command) == f"{command} --method clap --exemplars 'my files'"
    assert (
        add_options("python -m precompute evaluate null") == "python -m precompute evaluate null"
    )  # of another process


def test_results_on_its_weights_replace_those_it_held(store: Path, tmp_path: Path) -> None:
    before, folder = others(store), tmp_path / "kept"
    keep(folder, "agreement", weights(store))
    keep(folder, "null", "other weights")
    assert store_evaluations(store, folder) == ["agreement"]
    keep(folder, "agreement", weights(store), value=2)
    keep(folder, "planted", weights(store))
    assert store_evaluations(store, folder) == ["agreement", "planted"]
    found = evaluations(store)
    assert sorted(found) == ["agreement", "planted"] and json.loads(found["agreement"])["rows"] == [{"value": 2}]
    assert others(store) == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["store.duckdb"]


def test_a_failure_leaves_the_store_as_it_was(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = sha256(store.read_bytes()).hexdigest()
    keep(tmp_path / "kept", "null", "other weights")
    with pytest.raises(UserError, match="no evaluation of the weights"):
        store_evaluations(store, tmp_path / "kept")
    assert main(["evaluate", "store", "--store", str(tmp_path / "none.duckdb")]) == 1
    said = capsys.readouterr().err.strip()
    assert "none.duckdb" in said and "\n" not in said
    keep(tmp_path / "kept", "planted", weights(store))

    def full(*_: object) -> None:
        raise duckdb.IOException("no space left on device")

    monkeypatch.setattr(publication, "insert_rows", full)
    with pytest.raises(UserError, match="could not be written"):
        store_evaluations(store, tmp_path / "kept")
    assert sha256(store.read_bytes()).hexdigest() == digest
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["store.duckdb"]


def test_results_of_the_same_model_are_collected_from_a_folder(tmp_path: Path) -> None:
    for name, sha in (("demo-agreement", "a"), ("demo-quality", "b")):
        command = f"python -m precompute evaluate {name.removeprefix('demo-')}"
        (tmp_path / f"{name}.json").write_text(json.dumps({"command": command, "model_sha256": sha, "rows": [1]}))
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    columns = collect_evaluations(tmp_path, "a")
    assert columns["name"] == ["agreement"] and json.loads(columns["result_json"][0])["rows"] == [1]
    assert collect_evaluations(tmp_path / "none", "a") == {"name": [], "result_json": []}
