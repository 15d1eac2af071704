"""A manifest or a folder of audio -> tracks, with what is known about each. Times in seconds. Needs no torch."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, fields
from pathlib import Path

from precompute.corpus.audio import SUFFIXES
from precompute.corpus.tags import ISRC, ISWC, Tags, parse_code, read_tags
from precompute.errors import UserError

AUDITIONS = ("full", "excerpt", "none")
SPLITS = ("train", "decoy")
OPTIONAL = {"path", "planted", "matched_to", "training_weight", "holders", "isrc", "iswc"}  # columns of a manifest
UNLISTED = {"original", "start_s", "whole_s"}  # fields that no manifest has
UNKNOWN = "not stated"


@dataclass(frozen=True)
class Track:
    """One recording of the corpus, as the manifest describes it; or one window of a long recording."""

    track_id: int
    work_id: str
    title: str
    composer: str
    collection: str
    rights_holder: str
    licence_composition: str
    licence_encoding: str
    licence_rendering: str
    licence_evidence: str
    source: str
    instrument: str
    caption: str
    split: str  # train | decoy
    duration_s: float
    audition: str  # full | excerpt | none
    path: Path | None  # absolute; None where only latents are at hand
    planted: str = ""  # planted case, outside the decoy statistics
    matched_to: int | None = None  # of a decoy: the training track that it matches; of a twin: its weighted track
    training_weight: float = 1.0  # how often it was drawn in training, in terms of an ordinary track
    holders: tuple[tuple[str, str], ...] = ()  # further holders: (name, role)
    isrc: str = ""
    iswc: str = ""
    # of a track that is a part of a file, or had to be written in another format:
    original: Path | None = None  # the file as it was brought; `path` is what is heard and scored
    start_s: float = 0.0  # of the window in that file
    whole_s: float = 0.0  # length of that file; 0 = the track is all of it

    @property
    def is_decoy(self) -> bool:
        """True where it was not trained on and is scored as a control."""
        return self.split == "decoy"


def _read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows, as text. In Parquet, absent values are empty and `holders` may be a list of structs."""
    if not path.is_file():
        raise UserError(f"{path}: no manifest here; [corpus] manifest must name a CSV file or a Parquet file")
    if path.suffix.lower() not in (".parquet", ".pq"):
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            return list(reader.fieldnames or []), list(reader)
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: is not a Parquet file ({str(error).splitlines()[0]})") from error
    return table.column_names, [{k: _format_cell(v) for k, v in row.items()} for row in table.to_pylist()]


def _format_cell(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(f"{v.get('role', '')}: {v.get('holder', '')}" for v in value if isinstance(v, dict))
    return "" if value is None else str(value)


def read_manifest(path: Path) -> list[Track]:
    """Tracks of a manifest, CSV or Parquet, by track_id. Raises UserError naming the line and column at fault."""
    columns, rows = _read_table(path)
    needed = {f.name for f in fields(Track)} - OPTIONAL - UNLISTED
    missing = sorted(needed - set(columns))
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing from the header")
    tracks = [_parse_track(path, line, row) for line, row in enumerate(rows, start=2)]
    if not tracks:
        raise UserError(f"{path}: the manifest has no rows")
    seen: set[int] = set()
    for track in tracks:
        if track.track_id in seen:
            raise UserError(f"{path}: track_id {track.track_id} stands twice")
        seen.add(track.track_id)
    trained_works = {t.work_id for t in tracks if not t.is_decoy}
    for track in tracks:
        if track.is_decoy and track.work_id in trained_works:
            raise UserError(f"{path}: decoy {track.track_id} shares work {track.work_id!r} with a training track")
    return sorted(tracks, key=lambda t: t.track_id)


def _parse_track(path: Path, line: int, row: dict[str, str]) -> Track:
    def number(name: str, kind: type) -> float:
        try:
            value = kind(row[name])
        except (TypeError, ValueError):
            raise UserError(f"{path}, line {line}: {name} = {row[name]!r} is not a number") from None
        if not math.isfinite(value):
            raise UserError(f"{path}, line {line}: {name} = {row[name]!r} is not finite")
        return value

    for name, allowed in (("split", SPLITS), ("audition", AUDITIONS)):
        if row[name] not in allowed:
            raise UserError(f"{path}, line {line}: {name} = {row[name]!r}, must be one of {', '.join(allowed)}")
    for name in ("licence_composition", "licence_encoding", "licence_rendering", "licence_evidence", "caption"):
        if not (row[name] or "").strip():
            raise UserError(f"{path}, line {line}: {name} is empty")
    text: dict[str, object] = {f.name: row[f.name] for f in fields(Track) if f.name in row and f.name not in UNLISTED}
    text["track_id"] = int(number("track_id", int))
    text["duration_s"] = seconds = number("duration_s", float)
    if seconds <= 0:
        raise UserError(f"{path}, line {line}: duration_s = {row['duration_s']!r} must be above 0")
    text["path"] = path.parent / row["path"] if row.get("path") else None
    text["planted"] = row.get("planted") or ""
    text["matched_to"] = int(number("matched_to", int)) if row.get("matched_to") else None
    text["training_weight"] = weight = number("training_weight", float) if row.get("training_weight") else 1.0
    if weight < 0:
        raise UserError(f"{path}, line {line}: training_weight = {row['training_weight']!r} must not be below 0")
    text["holders"] = _parse_holders(path, line, row.get("holders") or "")
    for name, form in (("isrc", ISRC), ("iswc", ISWC)):
        text[name] = parse_code(row.get(name) or "", form)
        if row.get(name) and not text[name]:
            raise UserError(f"{path}, line {line}: {name} = {row[name]!r} is not an {name.upper()}")
    return Track(**text)  # type: ignore[arg-type]


def _parse_holders(path: Path, line: int, text: str) -> tuple[tuple[str, str], ...]:
    """'composer: A. Name; label: B' -> ((name, role), ...)."""
    holders = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        role, colon, name = (p.strip() for p in part.partition(":"))
        if not (role and colon and name):
            raise UserError(f"{path}, line {line}: holders = {part!r} must read 'role: name; role: name'")
        holders.append((name, role))
    return tuple(dict.fromkeys(holders))


def read_folder(folder: Path) -> list[Track]:
    """Every audio file below a folder as a training track; what its tags lack is "not stated". Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; [corpus] folder must hold audio files")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise UserError(f"{folder}: no audio in it ({', '.join(sorted(SUFFIXES))})")
    return [_describe_file(number, path, folder, read_tags(path)) for number, path in enumerate(paths, start=1)]


def _describe_file(number: int, path: Path, folder: Path, tags: Tags) -> Track:
    holder = tags.join_holders("rights holder") or tags.join_holders("label") or tags.join_holders("publisher")
    return Track(
        track_id=number,
        work_id=str(path.relative_to(folder).with_suffix("")),
        title=tags.title or path.stem,
        composer=tags.composer or UNKNOWN,
        collection=tags.album or path.parent.name,
        rights_holder=holder or UNKNOWN,
        licence_composition=UNKNOWN,
        licence_encoding=UNKNOWN,
        licence_rendering=UNKNOWN,
        licence_evidence=UNKNOWN,
        source=str(path.relative_to(folder)),
        instrument=UNKNOWN,
        caption=path.stem.replace("_", " ").replace("-", " "),
        split="train",
        duration_s=0.0,  # counted when the file is decoded
        audition="full",
        path=path,
        holders=tags.holders,
        isrc=tags.isrc,
        iswc=tags.iswc,
    )
