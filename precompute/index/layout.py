"""The index on disk: what it holds, what it was made with, and how it is replaced.

A folder with `manifest.json` and four files that it names. A file's name holds the beginning of its SHA-256, so that a
new version never writes over what the old one names: files first, then the manifest by rename, then what no manifest
names is removed. N tracks and decoys in the order of the corpus, K clips of the cohort, k numbers a sketch, P weights.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from precompute.common.files import hash_file, write_atomically
from precompute.config.run import RESULTS, RunConfig
from precompute.errors import UserError
from precompute.significance.verdicts import TrackMasks

FORMAT = 1  # count up when the files change their meaning
MANIFEST = "manifest.json"
COLUMNS = ("track_id", "digest", "is_decoy", "planted", "scale", "noise", "cohort")
BLOCK = 1 << 24  # bytes of sketches that are written at once


@dataclass(frozen=True)
class IndexRows:
    """N tracks and decoys. A row depends on its track alone, not on which others there are."""

    track_id: np.ndarray  # [N] int64
    digest: np.ndarray  # [N] text: names caption, length and audio by content
    is_decoy: np.ndarray  # [N] bool
    planted: np.ndarray  # [N] bool: outside the statistics
    scale: np.ndarray  # [N] float32: a sketch's numbers are its int8 times this
    noise: np.ndarray  # [N] float64: standard error over the track's draws for a clip of length |b| = 1
    cohort: np.ndarray  # [N, K] float64: exact scores for the cohort's clips
    sketches: np.ndarray  # [N, k] int8, memory-mapped where read from disk

    def __len__(self) -> int:
        return len(self.track_id)

    @classmethod
    def make_empty(cls, clips: int) -> IndexRows:
        """No rows; `clips`: K."""
        return cls(
            track_id=np.zeros(0, int),
            digest=np.zeros(0, "<U32"),
            is_decoy=np.zeros(0, bool),
            planted=np.zeros(0, bool),
            scale=np.zeros(0, np.float32),
            noise=np.zeros(0),
            cohort=np.zeros((0, clips)),
            sketches=np.zeros((0, 0), np.int8),
        )

    @property
    def masks(self) -> TrackMasks:
        """Masks of the tracks that enter the statistics."""
        return TrackMasks(~self.is_decoy & ~self.planted, self.is_decoy & ~self.planted, ~self.is_decoy)


@dataclass(frozen=True)
class IndexCohort:
    """The clips that say what is usual for a track."""

    prompts: list[str]  # K
    seconds: list[float]  # K
    latents: np.ndarray  # [K, C, F] float32
    sketches: np.ndarray  # [K, k] float32, of b
    lengths: np.ndarray  # [K] float64: |b|


@dataclass(frozen=True)
class Index:
    """An index in memory, its sketches aside."""

    folder: Path
    manifest: dict[str, Any]
    rows: IndexRows
    cohort: IndexCohort
    fisher: np.ndarray  # [P] float32, before damping


def get_index_folder(config: RunConfig) -> Path:
    """Folder of the index of a run: as the config says, else beside the store."""
    return Path(config.index.folder) if config.index.folder else Path(config.output.store).with_suffix(".index")


def collect_settings(config: RunConfig) -> dict[str, Any]:
    """All settings that a row depends on, by section."""
    unlearning = {name: value for name, value in asdict(config.unlearning).items() if name != "window_s"}
    clips = {name: getattr(config.clips, name) for name in ("steps", "guidance", "sampler", "cohort")}
    index = {name: getattr(config.index, name) for name in ("widest", "seed")}
    sections = {"bank": asdict(config.bank), "fisher": asdict(config.fisher), "unlearning": unlearning, "clips": clips}
    return {**sections, "index": index}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an index. Raises UserError where there is no index, or it has another format."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: no index here; make one with `python -m precompute index --config ...`") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete {folder} and make the index again") from error
    version = (manifest.get("format"), manifest.get("results")) if isinstance(manifest, dict) else None
    if version != (FORMAT, RESULTS):
        raise UserError(f"{folder}: made by another version of this program; delete it and make the index again")
    return manifest


def check_settings(manifest: dict[str, Any], config: RunConfig, folder: Path) -> None:
    """Raises UserError naming the first field in which the index and the config differ."""
    again = f"name another folder in [index] folder, or delete {folder} and make the index again"
    for section, values in collect_settings(config).items():
        indexed = manifest["settings"][section]
        for name, value in values.items():
            if indexed.get(name) != value:
                difference = f"{name} = {indexed.get(name)!r}, the config says {value!r}"
                raise UserError(f"{folder}: made with [{section}] {difference}; {again}")
    if config.index.width not in (0, manifest["width"]):
        difference = f"width = {manifest['width']}, the config says {config.index.width}"
        raise UserError(f"{folder}: made with [index] {difference}; {again}")


def check_model(manifest: dict[str, Any], inputs_sha256: str, folder: Path) -> None:
    """Raises UserError where the index was made with other weights, model config or CLAP."""
    if manifest["model"] != inputs_sha256:
        raise UserError(
            f"{folder}: made with another model ({manifest['model'][:12]}, the config names {inputs_sha256[:12]}); "
            f"name another folder in [index] folder, or delete {folder} and make the index again"
        )


def load_index(folder: Path, check_sketches: bool = False) -> Index:
    """The index, its sketches memory-mapped. Raises UserError where a file is not what the manifest says.

    `check_sketches`: read the sketches too, to compare their hash; else their size alone.
    """
    manifest = read_manifest(folder)
    for what, entry in manifest["files"].items():
        path = folder / entry["name"]
        size = path.stat().st_size if path.is_file() else -1
        if size != entry["bytes"] or ((check_sketches or what != "sketches") and hash_file(path) != entry["sha256"]):
            fault = "missing" if size < 0 else "not what the manifest says"
            raise UserError(f"{path}: {fault}; delete {folder} and make the index again")
    paths = {what: folder / entry["name"] for what, entry in manifest["files"].items()}
    with np.load(paths["tracks"], allow_pickle=False) as tracks, np.load(paths["cohort"], allow_pickle=False) as clips:
        rows = IndexRows(**{name: tracks[name] for name in COLUMNS}, sketches=np.load(paths["sketches"], mmap_mode="r"))
        arrays = {name: clips[name] for name in ("latents", "sketches", "lengths")}
    cohort = IndexCohort(manifest["cohort"]["prompts"], manifest["cohort"]["seconds"], **arrays)
    return Index(folder, manifest, rows, cohort, np.load(paths["fisher"]))


def save_index(index: Index) -> None:
    """Replace the index in its folder by this one. Killed at any moment, the folder holds the old or the new one."""
    commit_version(index.folder, write_version(index))


def write_version(index: Index, places: np.ndarray | None = None) -> dict[str, Any]:
    """Write the files of a new version beside the old one's, which stays the index; the manifest for `commit_version`.

    `places`: the rows that it holds, in this order; None: all.
    """
    rows, cohort, folder = index.rows, index.cohort, index.folder
    places = np.arange(len(rows)) if places is None else places
    folder.mkdir(parents=True, exist_ok=True)
    of_tracks = {name: getattr(rows, name)[places] for name in COLUMNS}
    of_clips = {name: getattr(cohort, name) for name in ("latents", "sketches", "lengths")}
    files = {
        "tracks": _write_file(folder, "tracks", ".npz", lambda handle: _write_npz(handle, of_tracks)),
        "sketches": _write_file(
            folder, "sketches", ".npy", lambda handle: _write_sketches(handle, rows.sketches, places)
        ),
        "cohort": _write_file(folder, "cohort", ".npz", lambda handle: _write_npz(handle, of_clips)),
        "fisher": _write_file(folder, "fisher", ".npy", lambda handle: np.save(handle, index.fisher)),
    }
    return {
        **index.manifest,
        "format": FORMAT,
        "results": RESULTS,
        "tracks": len(places),
        "cohort": {"prompts": cohort.prompts, "seconds": cohort.seconds},
        "files": files,
    }


def commit_version(folder: Path, manifest: dict[str, Any]) -> None:
    """Make what `write_version` has written the index; the files of the version before are removed."""
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    remove_stale_files(folder, manifest)


def remove_stale_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Remove files of an index that its manifest does not name."""
    current = {MANIFEST, *(entry["name"] for entry in manifest["files"].values())}
    for path in folder.iterdir():
        if path.name not in current and path.name.split("-")[0] in manifest["files"]:
            path.unlink()


def _write_file(folder: Path, what: str, ending: str, write: Callable[[BinaryIO], object]) -> dict[str, Any]:
    """Write a file beside and name it by its content; its entry of the manifest."""
    unnamed = folder / f"{what}-{os.getpid()}{ending}"
    write_atomically(unnamed, write, sync=True)
    digest = hash_file(unnamed)
    path = folder / f"{what}-{digest[:16]}{ending}"
    os.replace(unnamed, path)
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}


def _write_npz(handle: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    handle.write(archive.getvalue())


def _write_sketches(handle: BinaryIO, sketches: np.ndarray, places: np.ndarray) -> None:
    """Write rows of sketches [N, k] as np.save does, block by block: the index may be larger than memory."""
    width = sketches.shape[1]
    header = {"descr": "|i1", "fortran_order": False, "shape": (len(places), width)}
    np.lib.format.write_array_header_1_0(handle, header)
    step = max(1, BLOCK // max(1, width))
    for start in range(0, len(places), step):
        handle.write(np.ascontiguousarray(sketches[places[start : start + step]], dtype=np.int8).tobytes())
