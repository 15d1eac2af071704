"""Steps that tests of listening sessions repeat."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb

KEY = "the host's key"
TRACKS_FROM, CLIPS_FROM = 700_000, 900_000  # added to the ids of make_store, so that they can be looked for in a text


def far_store(store_path: Path, folder: Path) -> Path:
    """A copy of a store whose ids are large numbers that nothing else in an answer looks like."""
    shutil.copytree(store_path.parent, folder, symlinks=True)
    path = folder / "store.duckdb"
    path.unlink()
    with duckdb.connect(str(path)) as con:
        con.execute(f"ATTACH '{store_path}' AS near (READ_ONLY)")
        tables = con.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'near'").fetchall()
        for (table,) in tables:
            columns = con.execute(f"SELECT column_name FROM duckdb_columns() WHERE table_name = '{table}'").fetchall()
            names = {name for (name,) in columns}
            moved = [f"{n} + {TRACKS_FROM} AS {n}" for n in ("track_id", "target_track_id") if n in names]
            moved += [f"clip_id + {CLIPS_FROM} AS clip_id"] if "clip_id" in names else []
            replaced = f"REPLACE ({', '.join(moved)})" if moved else ""
            con.execute(f"CREATE TABLE {table} AS SELECT * {replaced} FROM near.{table}")
    return path


def wanted(**changes: Any) -> dict[str, Any]:
    """The fields that the host's form sends for a small session."""
    usual = {"title": "Thursday", "clips": [1, 2], "methods": ["unlearning", "cosine"], "k": 2, "random": 2}
    return {**usual, "decoys": 2, "seconds": 1.5, **changes}


def plan_of(store: Any, seed: int = 1, **changes: Any) -> Any:
    from explorer.listening_sessions import plan
    from explorer.state.store_views import StoreViews

    views = StoreViews(store)
    return plan.plan_session(views, plan.SessionRequest.parse(wanted(**changes), views), seed)


def settings_of(store_path: Path, sessions: Path, **options: Any) -> Any:
    from explorer.settings import Password, Settings

    return Settings(store_path, sessions=sessions, host_key=Password.of(KEY), **options)


def enter(client: Any) -> Any:
    """The client becomes the host's."""
    assert client.post("/host/enter", json={"key": KEY}).status_code == 200
    return client


def make(host: Any, **changes: Any) -> dict[str, Any]:
    answer = host.post("/host/sessions", json=wanted(**changes))
    assert answer.status_code == 200, answer.text
    return answer.json()


def join(client: Any, code: str, nickname: str) -> dict[str, Any]:
    """The state that a new listener gets."""
    answer = client.post(f"/session/{code}/join", json={"nickname": nickname, "agreed": True})
    assert answer.status_code == 200, answer.text
    return client.get(f"/session/{code}/state").json()


def rate(client: Any, code: str, lane: str, note: str | None = None, **answers: int) -> Any:
    body = {"lane": lane, "answers": answers} | ({} if note is None else {"note": note})
    return client.post(f"/session/{code}/rate", json=body)
