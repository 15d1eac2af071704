"""A published store, opened for reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explorer.store import Store, StoreError
from precompute.errors import UserError


@contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """The store at `path`, open while the block runs. Raises UserError where it cannot be read, also in the block."""
    try:
        store = Store(path)
        try:
            yield store
        finally:
            store.close()
    except StoreError as error:
        raise UserError(str(error)) from error
