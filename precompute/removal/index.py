"""A new version of an index of sketches without some tracks: `precompute remove` drops their rows.

The new version of the index is written beside the old one before the store is touched, and put in its place just before
the store's: a failure before that changes neither, and the same command finishes what was cut off after it. What all
rows share stays as it was: the Fisher information, which is a mean over all tracks of the run, and the cohort, which is
made of clips. D-TRAK's ridge regression is fitted on the rows that are left whenever a clip is attributed, so a track
that goes leaves it, though the model was still trained on it: scores of later clips may differ a little from what a run
before the removal gave.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from precompute.errors import UserError
from precompute.index import layout


@dataclass(frozen=True)
class ReducedIndex:
    """A new version of an index, written and not yet in place."""

    folder: Path
    dropped_rows: int
    manifest: dict[str, Any] | None  # None: no row goes, so the index stays as it is

    def commit(self) -> None:
        """Put it in place. Raises UserError; the index is as it was then."""
        if self.manifest is None:
            return
        try:
            layout.commit_version(self.folder, self.manifest)
        except OSError as error:
            raise UserError(
                f"{self.folder}: the index could not be replaced ({error.strerror}); nothing was changed"
            ) from error

    def discard(self) -> None:
        """Remove what was written; the old version is as it was. After `commit` this does nothing."""
        if self.manifest is not None:
            layout.remove_stale_files(self.folder, layout.read_manifest(self.folder))


def locate_index(store: Path, config_toml: str) -> Path | None:
    """Folder of the index of a store's run, where its config says, else beside the store; None where there is none."""
    try:
        section = tomllib.loads(config_toml).get("index", {})
    except tomllib.TOMLDecodeError:
        section = {}
    setting = section.get("folder") if isinstance(section, dict) else None
    folder = Path(setting) if isinstance(setting, str) and setting else store.with_suffix(".index")
    return folder if (folder / layout.MANIFEST).is_file() else None


def reduce_index(folder: Path, ids: Iterable[int], store_weights: str) -> ReducedIndex:
    """Write the index without these tracks beside itself. `store_weights`: hash of those that the store is of.

    The caller holds the index's lock: what killed commands have left of other versions is removed. A track that the
    index does not hold is no mistake: it may have been dropped before. Raises UserError: no index here, one of other
    weights or that does not say which, one that is damaged or would be empty, no room.
    """
    index = layout.load_index(folder)
    weights = index.manifest.get("weights")
    if weights is None:
        raise UserError(
            f"{folder}: does not say which weights it was made with; run `precompute index` with its config once, or "
            "leave it as it is with --no-index; nothing was changed"
        )
    if weights != store_weights:
        raise UserError(
            f"{folder}: made with another model ({weights[:12]}) than the store's scores ({store_weights[:12]}); name "
            "the right one with --index, or leave this one as it is with --no-index; nothing was changed"
        )
    writable = os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    if writable:
        layout.remove_stale_files(folder, index.manifest)
    left = np.flatnonzero(~np.isin(index.rows.track_id, list(ids)))
    dropped_rows = len(index.rows) - len(left)
    if not dropped_rows:
        return ReducedIndex(folder, 0, None)
    if not len(left):
        raise UserError(f"{folder}: nothing would be left of it; delete it instead; nothing was changed")
    if not writable:
        raise UserError(f"{folder}: cannot be written; nothing was changed")
    try:
        return ReducedIndex(folder, dropped_rows, layout.write_version(index, left))
    except OSError as error:
        layout.remove_stale_files(folder, index.manifest)
        raise UserError(f"{folder}: a new version could not be written ({error.strerror}); nothing was changed") from (
            error
        )
