"""A manifest or a folder of audio -> tracks; a file -> samples, loudness, peaks.

Conventions: samples are float32 in [-1, 1], shape [channels, T]; loudness in LUFS (ITU-R BS.1770), levels in dBFS. What
cannot be read is quarantined with a reason, never dropped in silence. No torch here.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from precompute.errors import UserError

SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff"}
PEAK_BINS = 400  # of the waveform drawn on the page
AUDITIONS = ("full", "excerpt", "none")
SPLITS = ("train", "decoy")


class AudioError(Exception):
    """Why one file cannot be used; the file is named by whoever catches this."""


@dataclass(frozen=True)
class Track:
    """One recording of the corpus, as the manifest tells it."""

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

    @property
    def is_decoy(self) -> bool:
        return self.split == "decoy"


@dataclass(frozen=True)
class Analysis:
    """What the page needs to draw and level a recording."""

    sha256: str
    duration_s: float
    loudness_lufs: float | None  # None: shorter than one 0.4 s block, or silent
    peak_dbfs: float
    peaks: np.ndarray = field(repr=False)  # [PEAK_BINS] uint8, largest magnitude a bin


def read_manifest(path: Path) -> list[Track]:
    """Tracks of a manifest CSV, sorted by track_id. Raises UserError naming the line and column at fault."""
    if not path.is_file():
        raise UserError(f"{path}: no manifest here; [corpus] manifest must name a CSV file")
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        optional = {"path", "planted", "matched_to", "training_weight"}
        needed = {f.name for f in fields(Track)} - optional
        missing = sorted(needed - set(reader.fieldnames or []))
        if missing:
            raise UserError(f"{path}: column {missing[0]!r} is missing from the header")
        tracks = [_track(path, line, row) for line, row in enumerate(reader, start=2)]
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


def _track(path: Path, line: int, row: dict[str, str]) -> Track:
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
    text: dict[str, object] = {f.name: row[f.name] for f in fields(Track) if f.name in row}
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
    return Track(**text)  # type: ignore[arg-type]


def read_folder(folder: Path) -> list[Track]:
    """Every audio file below a folder as a training track; what is not known about it says so."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; [corpus] folder must hold audio files")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise UserError(f"{folder}: no audio in it ({', '.join(sorted(SUFFIXES))})")
    unknown = "not stated"
    return [
        Track(
            track_id=number,
            work_id=str(path.relative_to(folder).with_suffix("")),
            title=path.stem,
            composer=unknown,
            collection=path.parent.name,
            rights_holder=unknown,
            licence_composition=unknown,
            licence_encoding=unknown,
            licence_rendering=unknown,
            licence_evidence=unknown,
            source=str(path.relative_to(folder)),
            instrument=unknown,
            caption=path.stem.replace("_", " ").replace("-", " "),
            split="train",
            duration_s=_duration(path),
            audition="full",
            path=path,
        )
        for number, path in enumerate(paths, start=1)
    ]


def _duration(path: Path) -> float:
    import soundfile

    try:
        return float(soundfile.info(str(path)).duration)
    except soundfile.LibsndfileError:
        return 0.0  # quarantined when it is read


def read_audio(path: Path, sample_rate: int, channels: int) -> np.ndarray:
    """Samples [channels, T] at `sample_rate`. Raises AudioError: missing, unreadable, empty, or not finite."""
    import soundfile

    try:
        wave, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError("missing" if not path.exists() else f"unreadable ({error})") from error
    wave = wave.T
    if wave.shape[1] == 0:
        raise AudioError("empty: it holds no samples")
    if not np.isfinite(wave).all():
        raise AudioError("holds samples that are not finite (NaN or infinity)")
    if wave.shape[0] != channels:
        wave = np.repeat(wave.mean(0, keepdims=True), channels, axis=0)
    if rate != sample_rate:
        import soxr

        wave = soxr.resample(wave.T, rate, sample_rate, quality="HQ").T
    return np.ascontiguousarray(wave, dtype=np.float32)


def analyse(path: Path) -> Analysis:
    """Hash, length, loudness and waveform peaks of a file as it is played. Raises AudioError."""
    import soundfile

    info = soundfile.info(str(path))
    wave = read_audio(path, info.samplerate, info.channels)
    return analyse_wave(wave, info.samplerate, hashlib.sha256(path.read_bytes()).hexdigest())


def analyse_wave(wave: np.ndarray, sample_rate: int, sha256: str) -> Analysis:
    """The same for samples [channels, T]."""
    import pyloudnorm

    loudness = None
    if wave.shape[1] > 0.4 * sample_rate:
        with np.errstate(divide="ignore"):
            value = float(pyloudnorm.Meter(sample_rate).integrated_loudness(wave.T.astype(np.float64)))
        loudness = value if math.isfinite(value) else None
    magnitude = np.abs(wave).max(0)
    edges = np.linspace(0, len(magnitude), min(PEAK_BINS, len(magnitude)) + 1).astype(int)
    peaks = np.maximum.reduceat(magnitude, edges[:-1])
    return Analysis(
        sha256=sha256,
        duration_s=wave.shape[1] / sample_rate,
        loudness_lufs=loudness,
        peak_dbfs=20 * math.log10(max(float(magnitude.max()), 1e-6)),
        peaks=np.round(np.clip(peaks, 0, 1) * 255).astype(np.uint8),
    )


def quarantine(tracks: Iterable[Track]) -> tuple[list[Track], dict[int, str]]:
    """Split tracks into readable ones and {track_id: reason}. Tracks without audio (latents only) pass."""
    import soundfile

    good, bad = [], {}
    for track in tracks:
        if track.path is None:
            good.append(track)
            continue
        try:
            info = soundfile.info(str(track.path))
            read_audio(track.path, info.samplerate, info.channels)
        except soundfile.LibsndfileError as error:
            bad[track.track_id] = "missing" if not track.path.exists() else f"unreadable ({error})"
        except AudioError as error:
            bad[track.track_id] = str(error)
        else:
            good.append(track)
    return good, bad
