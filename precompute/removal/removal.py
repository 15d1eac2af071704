"""Take tracks out of a published store: `python -m precompute remove TRACK ... --store PATH`.

A new version of the store is written beside and renamed into place (`store.py`); so is a new version of the run's index
(`index.py`). The model is not touched: it still contains the music, and only training again without it takes it out.
The store says so from then on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from explorer.store import Store, StoreError
from precompute.errors import UserError
from precompute.removal.files import SoundFiles, find_sound_files, remove_manifest_rows, write_manifest
from precompute.removal.index import locate_index, reduce_index
from precompute.removal.report import RemovalReport, format_ids
from precompute.removal.store import write_store_without


@dataclass(frozen=True)
class StoreOrigin:
    """The store's record of its run, and the sound of the tracks that are to go."""

    sound_paths: dict[int, Path]  # by id of each of these tracks that has sound
    weights: str  # hash of the weights that its scores are of
    config_toml: str  # of the run


def remove_tracks(
    store: Path,
    track_ids: Iterable[int],
    delete_audio: bool = False,
    manifest: Path | None = None,
    index: Path | None = None,
    skip_index: bool = False,
) -> RemovalReport:
    """Publish the store without these tracks; then the index; then the manifest; then delete their sound where asked.

    `index`: the folder of an index of sketches; None: that of the store's run, where there is one; `skip_index`: leave
    it as it is. On a failure before the new version is in place nothing has changed. Raises UserError: an unknown id,
    no training track left, a store of another version or one that cannot be written, a file that is no manifest, an
    index of another model.
    """
    ids = tuple(sorted(set(track_ids)))
    if not ids:
        raise UserError("remove: name at least one track")
    store = store.resolve()
    origin = _check_removal(store, ids)
    kept_rows = None if manifest is None else remove_manifest_rows(manifest, ids)
    sound = find_sound_files(store, origin.sound_paths) if delete_audio else SoundFiles((), ())
    _check_deletable(sound.own)
    folder = None if skip_index else index or locate_index(store, origin.config_toml)
    reduced = None if folder is None else reduce_index(folder, ids, origin.weights)
    try:
        clips, evaluations = write_store_without(store, ids)
        if reduced is not None:
            reduced.commit()
    finally:
        if reduced is not None:
            reduced.discard()
    if manifest is not None and kept_rows is not None:
        write_manifest(manifest, kept_rows[0])
    _delete(sound.own)
    return RemovalReport(
        tracks=ids,
        clips=clips,
        evaluations=evaluations,
        deleted_files=sound.own,
        shared_files=sound.shared,
        manifest_rows=kept_rows[1] if kept_rows else 0,
        index=folder,
        index_rows=None if reduced is None else reduced.dropped_rows,
    )


def find_members(store: Path, grouping: str, name: str) -> list[int]:
    """Ids of the training tracks of a composer, collection, holder, ... Raises UserError where there is none."""
    try:
        opened = Store(store)
    except StoreError as error:
        raise UserError(str(error)) from error
    try:
        groupings = opened.holders.read_groupings()
        if grouping not in groupings:
            raise UserError(f"--by {grouping}: {store} has no such grouping; it has {', '.join(groupings)}")
        ids = opened.holders.list_members(grouping, name)
    finally:
        opened.close()
    if not ids:
        raise UserError(f"--of {name}: no training track of {store} has this {grouping}")
    return ids


def _check_removal(store: Path, ids: Sequence[int]) -> StoreOrigin:
    """Raises UserError where the store lacks one of the tracks, or would be left without a training track."""
    try:
        opened = Store(store)
    except StoreError as error:
        raise UserError(str(error)) from error
    try:
        tracks = opened.tracks.read_many(ids)
        unknown = [i for i in ids if i not in tracks]
        if unknown:
            raise UserError(f"{store}: has no track {format_ids(unknown)}; nothing was changed")
        left = opened.tracks.count_training() - sum(not track.is_decoy for track in tracks.values())
        if left < 1:
            raise UserError(f"{store}: that would take out every training track; delete the store instead")
        root = (store.parent / opened.info.track_root).resolve()
        sound_paths = {i: root / path for i in ids if (path := opened.tracks.read_sound(i).audio_path)}
        run = opened.runs.read_latest()
        return StoreOrigin(sound_paths, run.model_sha256, run.config_toml)
    finally:
        opened.close()


def _check_deletable(paths: Sequence[Path]) -> None:
    for path in paths:
        if not os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise UserError(f"{path}: cannot be deleted, its folder cannot be written; nothing was changed")


def _delete(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{path}: could not be deleted ({error.strerror}); the store is without it already"
            ) from error
