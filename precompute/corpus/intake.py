"""The corpus of a run: tracks of a manifest or folder, thinned decoys, windows of long files. Needs no torch.

`check` stops after `take_in`, which writes nothing; `load_corpus` also writes the windows' audio.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from precompute.common.sequences import spread_evenly
from precompute.config.run import CorpusSection, RunConfig
from precompute.corpus.audio import SoundShape
from precompute.corpus.examination import examine_files
from precompute.corpus.tracks import Track, read_folder, read_manifest
from precompute.corpus.windows import cut_into_windows, format_clock, write_windows
from precompute.errors import UserError
from precompute.model.hub import compute_window_s, find_config_file, read_model_config


@dataclass(frozen=True)
class Corpus:
    """The tracks of a run."""

    tracks: list[Track]  # training tracks and the decoys that are scored, by track_id
    root: Path  # folder that holds all their audio
    set_aside: dict[int, str] = field(default_factory=dict)  # track_id -> why its file is set aside

    @property
    def trained(self) -> list[Track]:
        """The training tracks."""
        return [t for t in self.tracks if not t.is_decoy]


@dataclass(frozen=True)
class Intake:
    """The tracks of a run, before any audio of theirs is written."""

    tracks: list[Track]  # with their windows, by track_id
    root: Path  # folder that holds all their audio
    files: list[Track]  # as the manifest or folder has them, those set aside included
    shapes: dict[int, SoundShape]  # what the readable files hold, by track_id
    set_aside: dict[int, str] = field(default_factory=dict)  # track_id -> why its file is set aside

    @property
    def to_write(self) -> list[Track]:
        """Windows, and files in formats that a browser does not play."""
        return [t for t in self.tracks if t.original is not None]


def load_corpus(config: RunConfig) -> Corpus:
    """The tracks of the manifest or folder; prints which files are set aside, and which windows are cut and written.

    Raises UserError, AudioError, OSError.
    """
    window_s = compute_window_s(read_model_config(find_config_file(config.model)))
    intake = take_in(config, window_s)
    paths = {t.track_id: t.path for t in intake.files}
    for track_id, reason in intake.set_aside.items():
        print(f"  set aside: track {track_id} ({paths[track_id]}): {reason}", flush=True)
    for line in summarise(intake, window_s):
        print(f"  {line}", flush=True)
    write_windows(intake.tracks)
    return Corpus(intake.tracks, intake.root.resolve(), intake.set_aside)


def take_in(config: RunConfig, window_s: float) -> Intake:
    """Decode every file once; set aside what cannot be read, thin the decoys, cut long files into windows.

    `window_s`: seconds that the model hears at once. Raises UserError.
    """
    section = config.corpus
    files = read_manifest(Path(section.manifest)) if section.manifest else read_folder(Path(section.folder))
    clips = Path(config.output.clips).resolve()
    if section.folder and clips.is_relative_to(Path(section.folder).resolve()):
        raise UserError(
            f"[output] clips = {config.output.clips!r} lies inside [corpus] folder: clips would become tracks"
        )
    scored = choose_decoys(files, section)
    files = [t for t in files if not t.is_decoy or t.track_id in scored]
    examination = examine_files(files)
    if all(t.is_decoy for t in examination.readable):
        raise UserError(f"{section.manifest or section.folder}: no readable training track is left")
    folder = Path(config.output.clips) / "tracks"
    tracks = cut_into_windows(
        examination.readable,
        examination.shapes,
        window_s,
        most=section.windows,
        folder=folder.absolute(),
        next_id=1 + max(t.track_id for t in files),  # ids of files that are set aside are not used again
    )
    root = (Path(section.manifest).parent if section.manifest else Path(section.folder)).resolve()
    if any(t.original is not None for t in tracks):
        root = Path(os.path.commonpath([root, folder.resolve()]))
    return Intake(tracks, root, files, examination.shapes, examination.set_aside)


def choose_decoys(tracks: Sequence[Track], section: CorpusSection) -> set[int]:
    """The track ids of the decoys that are scored. Where none is said to match a track, all count as if they did."""
    decoys = [t for t in tracks if t.is_decoy]
    of_track = [t for t in decoys if t.matched_to is not None] or decoys
    of_caption: dict[str, list[Track]] = {}
    for track in decoys if len(of_track) < len(decoys) else []:
        if track.matched_to is None:
            of_caption.setdefault(track.caption, []).append(track)
    chosen = [of_track[i] for i in spread_evenly(len(of_track), section.decoys)]
    for group in of_caption.values():
        chosen += [group[i] for i in spread_evenly(len(group), section.caption_decoys)]
    return {track.track_id for track in chosen}


def summarise(intake: Intake, window_s: float) -> list[str]:
    """A line for each long file: its windows."""
    lines = []
    windows: dict[Path, list[Track]] = {}
    for track in intake.tracks:
        if track.whole_s and track.original:
            windows.setdefault(track.original, []).append(track)
    for path, tracks in windows.items():
        spans = ", ".join(f"{format_clock(t.start_s)}–{format_clock(t.start_s + t.duration_s)}" for t in tracks)
        lines.append(f"{path}: {format_clock(tracks[0].whole_s)} long; heard in windows of {window_s:.1f} s: {spans}")
    return lines
