"""Results of `evaluate` as table `evaluations`: collected from a folder, put into a store that is published already."""

from __future__ import annotations

import json
from pathlib import Path

from precompute.common.locks import lock_store
from precompute.errors import UserError
from precompute.store.publication import Columns, replace_table
from precompute.store.reading import open_store


def collect_evaluations(folder: Path, model_sha256: str) -> Columns:
    """Table `evaluations` from the result files in a folder, those of these weights alone; others are passed over."""
    results = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if not isinstance(result, dict) or result.get("model_sha256") != model_sha256:
            continue
        _, evaluated, verb = result.get("command", "").partition(" evaluate ")
        if evaluated:
            results[verb.split()[0]] = json.dumps(result, separators=(",", ":"))
    return {"name": list(results), "result_json": list(results.values())}


def store_evaluations(store: Path, folder: Path) -> list[str]:
    """Replace the store's table `evaluations` by those in `folder` that were made on its weights; their names.

    A run does the same when it publishes; this is for what was evaluated after it. Raises UserError where the store
    cannot be read or written, or the folder holds nothing of its weights: then the store stays as it was.
    """
    with lock_store(store):
        with open_store(store) as opened:
            weights = opened.runs.read_latest().model_sha256
        evaluations = collect_evaluations(folder, weights)
        if not evaluations["name"]:
            raise UserError(f"{folder}: no evaluation of the weights of {store} is kept here; nothing was changed")
        replace_table(store, "evaluations", evaluations)
    return list(evaluations["name"])
