"""The index on disk: what it holds, what it was made with, and how it is replaced.

A folder with `manifest.json` and the files that it names: the tracks, the cohort's clips, and two for each method that
the index serves (unlearning: three). A file's name holds the beginning of its SHA-256, so that a new version never
writes over what the old one names: files first, then the manifest by rename, then what no manifest names is removed.
N tracks and decoys in the order of the corpus, K clips of the cohort, R replicates of the noise bank, k numbers a
sketch, P weights.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast

import numpy as np

from precompute.common.files import hash_file, write_atomically
from precompute.common.locks import lock_index
from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import RESULTS, RunConfig
from precompute.errors import UserError
from precompute.index.search import SketchTable

FORMAT = 2  # count up when the files change their meaning
SERVED = ("dtrak", "unlearning")  # the methods that an index can serve
MANIFEST = "manifest.json"
BLOCK = 1 << 24  # bytes of sketches that are written at once


@dataclass(frozen=True)
class IndexRows:
    """N tracks and decoys by what they are. A row depends on its track alone, not on which others there are."""

    track_id: np.ndarray  # [N] int64
    digest: np.ndarray  # [N] text: names caption, length and audio by content

    def __len__(self) -> int:
        return len(self.track_id)


@dataclass(frozen=True)
class IndexCohort:
    """The clips that say what is usual for a track."""

    prompts: list[str]  # K
    seconds: list[float]  # K
    latents: np.ndarray  # [K, C, F] float32

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True)
class MethodPart:
    """What the index holds for one method. Of the arrays in `OF_TRACKS`, each row depends on its track alone."""

    OF_TRACKS: ClassVar[tuple[str, ...]] = ("numbers", "scale")
    SHARED: ClassVar[tuple[str, ...]] = ("clips",)
    APART: ClassVar[tuple[str, ...]] = ("numbers",)  # of them, those in files of their own, which stay on disk

    numbers: np.ndarray  # [N, R, k] int8, float16 or float32: sketches of the tracks
    scale: np.ndarray  # [N, R] float32, times which they are
    clips: np.ndarray  # [K, k] float32: sketches of the cohort's clips

    @property
    def table(self) -> SketchTable:
        """The tracks' sketches."""
        return SketchTable(self.numbers, self.scale)


@dataclass(frozen=True)
class DtrakPart(MethodPart):
    """D-TRAK: sketches of the gradient of the squared output, by replicate. Scores follow from them, none is stored."""


@dataclass(frozen=True)
class UnlearningPart(MethodPart):
    """Unlearning: sketches of a and b (see `index/__init__.py`), R = 1, and what corrects the scores from them."""

    OF_TRACKS: ClassVar[tuple[str, ...]] = ("numbers", "scale", "noise", "cohort")
    SHARED: ClassVar[tuple[str, ...]] = ("clips", "lengths", "fisher")
    APART: ClassVar[tuple[str, ...]] = ("numbers", "fisher")

    noise: np.ndarray  # [N] float64: standard error over the track's draws for a clip of length |b| = 1
    cohort: np.ndarray  # [N, K] float64: exact scores for the cohort's clips
    lengths: np.ndarray  # [K] float64: |b|
    fisher: np.ndarray  # [P] float32, before damping


PARTS: dict[str, type[MethodPart]] = {"dtrak": DtrakPart, "unlearning": UnlearningPart}


PART_FILES = {"tracks", "clips", *PARTS, *(f"{name}_{apart}" for name, part in PARTS.items() for apart in part.APART)}


@dataclass(frozen=True)
class Index:
    """An index in memory, its sketches aside."""

    folder: Path
    manifest: dict[str, Any]
    rows: IndexRows
    cohort: IndexCohort
    parts: dict[str, MethodPart]  # by method

    @property
    def dtrak(self) -> DtrakPart:
        """The part of D-TRAK; it is there."""
        return cast(DtrakPart, self.parts["dtrak"])

    @property
    def unlearning(self) -> UnlearningPart:
        """The part of unlearning; it is there."""
        return cast(UnlearningPart, self.parts["unlearning"])


def get_index_folder(config: RunConfig) -> Path:
    """Folder of the index of a run: as the config says, else beside the store."""
    return Path(config.index.folder) if config.index.folder else Path(config.output.store).with_suffix(".index")


def list_served(config: RunConfig) -> list[str]:
    """Methods of the run that its index serves, the page's default first. Raises UserError where there is none."""
    served = [name for name in config.methods.run if name in SERVED]
    if not served:
        raise UserError(f"[methods] run: an index serves {' and '.join(SERVED)}, and none of them is in the run")
    return sorted(served, key=lambda name: name != config.methods.default)


def collect_settings(config: RunConfig) -> dict[str, Any]:
    """All settings that a row depends on, by section."""
    unlearning = {name: value for name, value in asdict(config.unlearning).items() if name != "window_s"}
    clips = {name: getattr(config.clips, name) for name in ("steps", "guidance", "sampler", "cohort")}
    index = {name: getattr(config.index, name) for name in ("widest", "seed")}
    sections = {"bank": asdict(config.bank), "fisher": asdict(config.fisher), "unlearning": unlearning, "clips": clips}
    served = list_served(config)
    if "dtrak" in served:
        index["precision"] = config.index.precision
        sections["methods.dtrak"] = asdict(config.methods.settings.get("dtrak", METHOD_SETTINGS["dtrak"]))
    return {"methods": {"run": sorted(served)}, **sections, "index": index}


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
        indexed = manifest["settings"].get(section, {})
        for name, value in values.items():
            if indexed.get(name) != value:
                difference = f"{name} = {indexed.get(name)!r}, the config says {value!r}"
                raise UserError(f"{folder}: made with [{section}] {difference}; {again}")
    if "unlearning" in manifest["methods"] and config.index.width not in (0, manifest["width"]):
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

    `check_sketches`: read the sketches too, to compare their hash; else their size alone. Needs no lock: where the
    index is replaced meanwhile, the new version is read.
    """
    manifest = read_manifest(folder)
    try:
        return _load_version(folder, manifest, check_sketches)
    except (UserError, OSError):
        if read_manifest(folder) == manifest:
            raise
    return load_index(folder, check_sketches)


def _load_version(folder: Path, manifest: dict[str, Any], check_sketches: bool) -> Index:
    for what, entry in manifest["files"].items():
        path = folder / entry["name"]
        size = path.stat().st_size if path.is_file() else -1
        hashed = check_sketches or not what.endswith("_numbers")
        if size != entry["bytes"] or (hashed and hash_file(path) != entry["sha256"]):
            fault = "missing" if size < 0 else "not what the manifest says"
            raise UserError(f"{path}: {fault}; delete {folder} and make the index again")

    def read(what: str) -> dict[str, np.ndarray]:
        with np.load(folder / manifest["files"][what]["name"], allow_pickle=False) as archive:
            return dict(archive)

    parts = {}
    for name in manifest["methods"]:
        arrays = read(name)
        for apart in PARTS[name].APART:
            path = folder / manifest["files"][f"{name}_{apart}"]["name"]
            arrays[apart] = np.load(path, mmap_mode="r" if apart == "numbers" else None)
        parts[name] = PARTS[name](**arrays)
    cohort = IndexCohort(manifest["cohort"]["prompts"], manifest["cohort"]["seconds"], **read("clips"))
    return Index(folder, manifest, IndexRows(**read("tracks")), cohort, parts)


def save_index(index: Index, replaced: dict[str, Any] | None = None) -> None:
    """Replace the index in its folder by this one. Killed at any moment, the folder holds the old or the new one.

    `replaced`: manifest of the version that this one was made from; None: there was none. Waits for another command
    that changes the index. Raises UserError where the folder holds another version by now.
    """
    index.folder.mkdir(parents=True, exist_ok=True)
    with lock_index(index.folder):
        present = read_manifest(index.folder) if (index.folder / MANIFEST).is_file() else None
        if present != replaced:
            raise UserError(
                f"{index.folder}: another command has changed the index meanwhile; start this one again: what it has"
                " computed is kept"
            )
        commit_version(index.folder, write_version(index))


def write_version(index: Index, places: np.ndarray | None = None) -> dict[str, Any]:
    """Write the files of a new version beside the old one's, which stays the index; the manifest for `commit_version`.

    The caller holds the index's lock, for both. `places`: the rows that it holds, in this order; None: all.
    """
    places = np.arange(len(index.rows)) if places is None else places
    index.folder.mkdir(parents=True, exist_ok=True)
    writer = FileWriter(index.folder)
    writer.write_arrays("tracks", {name: values[places] for name, values in vars(index.rows).items()})
    writer.write_arrays("clips", {"latents": index.cohort.latents})
    for name, part in index.parts.items():
        of_tracks = {n: getattr(part, n)[places] for n in part.OF_TRACKS if n not in part.APART}
        shared = {n: getattr(part, n) for n in part.SHARED if n not in part.APART}
        writer.write_arrays(name, of_tracks | shared)
        for apart in part.APART:
            rows = places if apart in part.OF_TRACKS else np.arange(len(getattr(part, apart)))
            writer.write_rows(f"{name}_{apart}", getattr(part, apart), rows)
    return {
        **index.manifest,
        "format": FORMAT,
        "results": RESULTS,
        "tracks": len(places),
        "cohort": {"prompts": index.cohort.prompts, "seconds": index.cohort.seconds},
        "methods": list(index.parts),
        "files": writer.entries,
    }


def commit_version(folder: Path, manifest: dict[str, Any]) -> None:
    """Make what `write_version` has written the index; the files of the version before are removed."""
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    remove_stale_files(folder, manifest)


def remove_stale_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Remove files of an index that its manifest does not name, half-written ones too; the caller holds its lock."""
    current = {entry["name"] for entry in manifest["files"].values()}
    for path in folder.iterdir():
        name = path.name.removeprefix(".")
        if path.name not in current and (name.split("-")[0] in PART_FILES or name.startswith(f"{MANIFEST}.")):
            path.unlink()


class FileWriter:
    """Writes files of a new version, each named by its content, and collects their entries of the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.entries = folder, dict[str, dict[str, Any]]()

    def write_arrays(self, what: str, arrays: dict[str, np.ndarray]) -> None:
        """An .npz file."""

        def write(handle: BinaryIO) -> None:
            archive = io.BytesIO()
            np.savez(archive, **cast(dict[str, Any], arrays))
            handle.write(archive.getvalue())

        self._write(what, ".npz", write)

    def write_rows(self, what: str, values: np.ndarray, places: np.ndarray) -> None:
        """An .npy file of some rows."""
        self._write(what, ".npy", lambda handle: write_array(handle, values, places))

    def _write(self, what: str, ending: str, write: Callable[[BinaryIO], object]) -> None:
        """Write a file beside and name it by its content."""
        unnamed = self.folder / f"{what}-{os.getpid()}{ending}"
        write_atomically(unnamed, write)
        digest = hash_file(unnamed)
        path = self.folder / f"{what}-{digest[:16]}{ending}"
        os.replace(unnamed, path)
        self.entries[what] = {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}


def write_array(handle: BinaryIO, values: np.ndarray, places: np.ndarray) -> None:
    """Write rows of an array as np.save does, block by block: the index may be larger than memory."""
    shape = (len(places), *values.shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)
    step = max(1, BLOCK // max(1, values[:1].nbytes))
    for start in range(0, len(places), step):
        handle.write(np.ascontiguousarray(values[places[start : start + step]]).tobytes())
