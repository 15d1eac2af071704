"""A store that a command reads: what cannot be read of it is the user's one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.store import contract
from precompute.cli.main import main
from precompute.errors import UserError
from precompute.store.reading import open_store
from support import make_store


def test_damage_that_is_found_late_ends_in_one_line(tmp_path: Path) -> None:
    whole = make_store.make_store(tmp_path / "shop").read_bytes()
    cut = tmp_path / "cut.duckdb"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.duckdb is damaged \(") as caught, open_store(cut) as opened:
        for table in contract():
            opened.database.fetch_rows(f"FROM {table}")
    assert "\n" not in str(caught.value)


def test_a_command_says_what_is_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.duckdb"
    path.write_bytes(b"music" * 1000)
    assert main(["report", "--store", str(path), "--out", str(tmp_path / "out.json")]) == 1
    said = capsys.readouterr().err
    assert "x.duckdb is not a DuckDB file" in said and said.count("\n") == 1
