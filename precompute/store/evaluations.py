"""What `evaluate` kept on a model, put into a store that was published from it: a new version of the store."""

from __future__ import annotations

from pathlib import Path

from explorer.store import Store, StoreError
from precompute.errors import UserError
from precompute.store.publication import replace_rows
from precompute.store.record import kept_evaluations


def store_evaluations(store: Path, folder: Path) -> list[str]:
    """Replace the store's table `evaluations` by those in `folder` that were made on its weights; their names.

    A run does the same when it publishes; this is for what was evaluated after it. Raises UserError where the store
    cannot be read or written, or the folder holds nothing of its weights: then the store stays as it was.
    """
    try:
        opened = Store(store)
    except StoreError as error:
        raise UserError(str(error)) from error
    try:
        weights = opened.runs.read_latest().model_sha256
    finally:
        opened.close()
    found = kept_evaluations(folder, weights)
    if not found["name"]:
        raise UserError(f"{folder}: no evaluation of the weights of {store} is kept here; nothing was changed")
    replace_rows(store, "evaluations", found)
    return list(found["name"])
