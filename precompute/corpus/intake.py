"""What a run takes in: tracks, their windows and written audio; the user's own clips; the model's files. No torch here,
so that `check` answers soon.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig
from precompute.corpus.audio import SUFFIXES, AudioError, Shape, scan
from precompute.corpus.tracks import Track, examine, read_folder, read_manifest
from precompute.corpus.windows import clock, cut
from precompute.errors import UserError


@dataclass(frozen=True)
class Intake:
    """The tracks of a run, before any audio of theirs is written."""

    tracks: list[Track]  # with their windows, by track_id
    root: Path  # folder that holds all their audio
    files: list[Track]  # as the manifest or folder has them, quarantined ones included
    shapes: dict[int, Shape]  # what the readable files hold, by track_id
    quarantined: dict[int, str] = field(default_factory=dict)  # track_id -> why it is left out

    @property
    def to_write(self) -> list[Track]:
        """Windows, and files in formats that a browser does not play."""
        return [t for t in self.tracks if t.original is not None]


def take_in(config: RunConfig, longest_s: float) -> Intake:
    """Decode every file once; quarantine what cannot be read, thin the decoys, cut long files into windows."""
    section = config.corpus
    files = read_manifest(Path(section.manifest)) if section.manifest else read_folder(Path(section.folder))
    clips = Path(config.output.clips).resolve()
    if section.folder and clips.is_relative_to(Path(section.folder).resolve()):
        raise UserError(
            f"[output] clips = {config.output.clips!r} lies inside [corpus] folder: clips would become tracks"
        )
    decoys = [t for t in files if t.is_decoy]
    kept = {decoys[i].track_id for i in spread_evenly(len(decoys), section.decoys)}
    files = [t for t in files if not t.is_decoy or t.track_id in kept]
    good, bad, shapes = examine(files)
    if not any(not t.is_decoy for t in good):
        raise UserError(f"{section.manifest or section.folder}: no readable training track is left")
    folder = Path(config.output.clips) / "tracks"
    following = 1 + max(t.track_id for t in files)  # ids of files that are left out are not used again
    tracks = cut(good, shapes, longest_s, section.windows, folder.absolute(), following)
    root = (Path(section.manifest).parent if section.manifest else Path(section.folder)).resolve()
    if any(t.original is not None for t in tracks):
        root = Path(os.path.commonpath([root, folder.resolve()]))
    return Intake(tracks, root, files, shapes, bad)


def said(taken: Intake, longest_s: float) -> list[str]:
    """What was chosen of long files, in words."""
    lines = []
    parts: dict[Path, list[Track]] = {}
    for track in taken.tracks:
        if track.whole_s and track.original:
            parts.setdefault(track.original, []).append(track)
    for path, tracks in parts.items():
        spans = ", ".join(f"{clock(t.start_s)}–{clock(t.start_s + t.duration_s)}" for t in tracks)
        lines.append(f"{path}: {clock(tracks[0].whole_s)} long; heard in windows of {longest_s:.1f} s: {spans}")
    return lines


def model_length_s(model_config: dict[str, Any]) -> float:
    """How much a model hears at once, in seconds: whole latent frames of its sample_size."""
    ratio = int(model_config["model"]["pretransform"]["config"]["downsampling_ratio"])
    return int(model_config["sample_size"]) // ratio * ratio / int(model_config["sample_rate"])


def read_model_config(path: Path) -> dict[str, Any]:
    """A stable-audio-tools JSON config. Raises UserError."""
    if not path.is_file():
        raise UserError(f"{path}: not found; [model] config must name a file (see README, 'the demo model')")
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        model_length_s(config)
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{path}: is not a config of a latent diffusion model of stable-audio-tools ({error})"
        ) from error
    return config


@dataclass(frozen=True)
class OwnClip:
    """A sound of the user's."""

    path: Path
    seconds: float  # of the whole file


def own_clips(audio: str) -> tuple[list[OwnClip], dict[str, str]]:
    """The readable sounds of [clips] audio, by name, and why others cannot be used. Raises UserError."""
    if not audio:
        return [], {}
    place = Path(audio)
    if place.is_dir():
        paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    elif place.is_file():
        paths = [place]
    else:
        raise UserError(f"{place}: not found; [clips] audio must name a file or a folder of sounds")
    good, bad = [], {}
    for path in paths:
        try:
            good.append(OwnClip(path, scan(path).seconds))
        except AudioError as error:
            bad[str(path)] = str(error)
    if not good:
        raise UserError(f"{place}: no readable sound in it ({', '.join(sorted(SUFFIXES))})")
    return good, bad
