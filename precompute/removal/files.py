"""Sound files and a manifest, which `precompute remove` changes beside store and index."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from precompute.common.files import write_atomically
from precompute.errors import UserError
from precompute.store.reading import open_store


@dataclass(frozen=True)
class SoundFiles:
    """Sound of the tracks that are taken out."""

    own: tuple[Path, ...]  # that no other track uses
    shared: tuple[Path, ...]  # that a track which stays uses too


def find_sound_files(store: Path, sound_paths: dict[int, Path]) -> SoundFiles:
    """Files of these tracks, by id, within the store's folder of tracks; a path that leads out of it is passed over."""
    with open_store(store) as opened:
        others = opened.database.fetch_rows(
            "SELECT audio_path FROM tracks WHERE audio_path IS NOT NULL AND NOT list_contains(?::INTEGER[], track_id)",
            list(sound_paths),
        )
        base = (store.parent / opened.info.track_root).resolve()
    used = {(base / path).resolve() for (path,) in others}
    paths = {path for path in sound_paths.values() if path.resolve().is_relative_to(base) and path.is_file()}
    shared = {path for path in paths if path.resolve() in used}
    return SoundFiles(tuple(sorted(paths - shared)), tuple(sorted(shared)))


def remove_manifest_rows(path: Path, ids: Iterable[int]) -> tuple[bytes, int]:
    """(a manifest's text without these tracks, how many rows went); other rows stay as they are. Raises UserError."""
    try:
        text = path.read_bytes().decode("utf-8")  # read_text would lose the kind of line ends
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a manifest ({error})") from error
    rows = list(csv.reader(io.StringIO(text, newline="")))
    header = [name.lstrip("\ufeff") for name in rows[0]] if rows else []
    if "track_id" not in header:
        raise UserError(f"{path}: is no manifest, its header has no column track_id; nothing was changed")
    column, gone = header.index("track_id"), {str(i) for i in ids}
    left = [row for row in rows[1:] if len(row) <= column or row[column].strip() not in gone]
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n" if "\r\n" in text else "\n")
    writer.writerows([rows[0], *left])
    return written.getvalue().encode("utf-8"), len(rows) - 1 - len(left)


def write_manifest(path: Path, data: bytes) -> None:
    """Replace a manifest. Raises UserError."""
    try:
        write_atomically(path, data)
    except OSError as error:
        raise UserError(
            f"{path}: the manifest could not be written ({error.strerror}); the store and its sound are as they were:"
            " start the same command again"
        ) from error


def delete_sound(paths: Iterable[Path]) -> None:
    """Delete sound files; one that is gone already is passed over. Raises UserError."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{path}: could not be deleted ({error.strerror}); the store is as it was: start the same command again"
            ) from error
