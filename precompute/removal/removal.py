"""Take tracks out of a published store: `python -m precompute remove TRACK ... --store PATH`.

A new version of the store is written beside and renamed into place (`store.py`); so is a new version of the run's index
(`index.py`). The store's rename is the last step of all: whatever a killed command has done before it, the same command
does again or finds done, and the store still knows which tracks, sound and rows are meant. The model is not touched: it
still contains the music, and only training again without it takes it out. The store says so from then on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from explorer.store import Store
from precompute.common.locks import lock_index, lock_store
from precompute.errors import UserError
from precompute.removal.files import (
    SoundFiles,
    delete_sound,
    find_sound_files,
    remove_manifest_rows,
    write_manifest,
)
from precompute.removal.index import locate_index, reduce_index
from precompute.removal.report import RemovalReport, format_ids
from precompute.removal.store import is_noted, make_reference, write_store_without
from precompute.store.reading import open_store


@dataclass(frozen=True)
class TrackGroup:
    """All training tracks of a composer, collection, holder, ..."""

    grouping: str  # 'composer', 'collection', a role of holders
    name: str


@dataclass(frozen=True)
class RemovalPlan:
    """The tracks that are to go, and what the store says of them and of its run."""

    ids: tuple[int, ...]
    reference: str  # names the command in the store's note
    is_done: bool  # the same command was here before, and the store is without the tracks
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
    group: TrackGroup | None = None,
) -> RemovalReport:
    """Take these tracks, and those of `group`, out of index and manifest, delete their sound where asked, then publish.

    `index`: the folder of an index of sketches; None: that of the store's run, where there is one; `skip_index`: leave
    it as it is. Until the new version of the store is written nothing has changed. Raises UserError: an unknown id,
    no training track left, a store of another version or one that cannot be written, a file that is no manifest, an
    index of another model.
    """
    named = tuple(sorted(set(track_ids)))
    if not named and group is None:
        raise UserError("remove: name at least one track")
    store = store.resolve()
    with ExitStack() as held:
        held.enter_context(lock_store(store))
        plan = _plan_removal(store, named, group)
        kept_rows = None if manifest is None else remove_manifest_rows(manifest, plan.ids)
        sound = find_sound_files(store, plan.sound_paths) if delete_audio else SoundFiles((), ())
        _check_deletable(sound.own)
        folder = None if skip_index else index or locate_index(store, plan.config_toml)
        if folder is not None and folder.is_dir() and os.access(folder, os.W_OK):
            held.enter_context(lock_index(folder))
        reduced = None if folder is None else reduce_index(folder, plan.ids, plan.weights)

        def finish_beside() -> None:
            if reduced is not None:
                reduced.commit()
            if manifest is not None and kept_rows is not None and kept_rows[1]:
                write_manifest(manifest, kept_rows[0])
            delete_sound(sound.own)

        clips: tuple[int, ...] = ()
        evaluations: tuple[str, ...] = ()
        try:
            if plan.is_done:
                finish_beside()
            else:
                clips, evaluations = write_store_without(store, plan.ids, plan.reference, finish_beside)
        finally:
            if reduced is not None:
                reduced.discard()
    return RemovalReport(
        tracks=plan.ids,
        clips=clips,
        evaluations=evaluations,
        deleted_files=sound.own,
        shared_files=sound.shared,
        manifest_rows=kept_rows[1] if kept_rows else 0,
        index=folder,
        index_rows=None if reduced is None else reduced.dropped_rows,
        was_done=plan.is_done,
    )


def _plan_removal(store: Path, named: Sequence[int], group: TrackGroup | None) -> RemovalPlan:
    """Raises UserError where the store lacks what is named, or would be left without a training track."""
    words = [*map(str, named), *(["", group.grouping, group.name] if group else [])]
    reference = make_reference(words)
    with open_store(store) as opened:
        members = [] if group is None else _list_members(opened, store, group)
        ids = tuple(sorted({*named, *members}))
        tracks = opened.tracks.read_many(ids)
        is_done = not tracks and is_noted(opened.info.note, reference)
        if not is_done:
            _check_present(store, ids, tracks.keys(), group if not members else None)
            left = opened.tracks.count_training() - sum(not track.is_decoy for track in tracks.values())
            if left < 1:
                raise UserError(f"{store}: that would take out every training track; delete the store instead")
        root = (store.parent / opened.info.track_root).resolve()
        sound_paths = {i: root / path for i in tracks if (path := opened.tracks.read_sound(i).audio_path)}
        run = opened.runs.read_latest()
        return RemovalPlan(ids, reference, is_done, sound_paths, run.model_sha256, run.config_toml)


def _list_members(opened: Store, store: Path, group: TrackGroup) -> list[int]:
    """Ids of the group's training tracks, none where it has none. Raises UserError for an unknown grouping."""
    groupings = opened.holders.read_groupings()
    if group.grouping not in groupings:
        raise UserError(f"--by {group.grouping}: {store} has no such grouping; it has {', '.join(groupings)}")
    return opened.holders.list_members(group.grouping, group.name)


def _check_present(store: Path, ids: Sequence[int], present: Iterable[int], empty: TrackGroup | None) -> None:
    """Raises UserError where one of the tracks is not in the store; `empty`: a group without tracks."""
    if empty is not None:
        raise UserError(f"--of {empty.name}: no training track of {store} has this {empty.grouping}")
    unknown = sorted(set(ids) - set(present))
    if unknown:
        raise UserError(f"{store}: has no track {format_ids(unknown)}; nothing was changed")


def _check_deletable(paths: Sequence[Path]) -> None:
    for path in paths:
        if not os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise UserError(f"{path}: cannot be deleted, its folder cannot be written; nothing was changed")
