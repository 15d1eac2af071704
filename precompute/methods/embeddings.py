"""For methods that listen: embeddings of all recordings of a run, and a checkpoint's name by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from precompute.common.cache import Arrays
from precompute.common.progress import progress
from precompute.corpus.audio import AudioError
from precompute.errors import UserError
from precompute.gradients.context import Context


def collect_embeddings(context: Context, embed: Callable[[np.ndarray], np.ndarray], rate: int, label: str) -> Arrays:
    """Embeddings of tracks, shown and cohort clips; targets are tracks, `select_windows` looks them up.

    `embed`: a mono waveform [T] at `rate` -> [W, E], one row per window. For each kind, its name holds the rows of all
    recordings, [sum of W, E] float32, and its name with `_windows` how many each has. What is heard through the
    autoencoder is embedded once for all contexts that share a memo's "recordings".
    """
    known: dict[tuple[str, int, str], np.ndarray] = context.make_once("recordings", dict)

    def embed_one(kind: str, row: int) -> np.ndarray:
        if kind == "tracks" and not context.is_decoded:
            return embed(_load_mono(context, kind, row, rate))
        items = context.items if kind == "tracks" else context.queries.items(kind)
        content = items.latents[row].numpy().tobytes() + items.seconds[row].numpy().tobytes()
        name = (label, rate, hashlib.sha256(content).hexdigest())
        if name not in known:
            known[name] = embed(_load_mono(context, kind, row, rate))
        return known[name]

    arrays: Arrays = {}
    recordings = {"tracks": context.items, "shown": context.queries.shown, "cohort": context.queries.cohort}
    for kind, items in recordings.items():
        rows = [embed_one(kind, row) for row in progress(f"{label}, {kind}", range(len(items)))]
        arrays[kind] = np.concatenate(rows).astype(np.float32)
        arrays[f"{kind}_windows"] = np.array([len(row) for row in rows])
    return arrays


def _load_mono(context: Context, kind: str, row: int, rate: int) -> np.ndarray:
    """[T]. Raises UserError where a file has gone since the run began."""
    try:
        return context.load_audio(kind, row, rate)[0].mean(0)
    except AudioError as error:
        raise UserError(f"{context.tracks[row].path}: {error}") from error


def select_windows(embeddings: Arrays, context: Context, kind: str, row: int) -> np.ndarray:
    """Windows [W, E] of one recording, from what `collect_embeddings` gave."""
    if kind == "targets":
        kind, row = "tracks", int(context.target_rows[row])
    counts = embeddings[f"{kind}_windows"]
    start = int(counts[:row].sum())
    return embeddings[kind][start : start + int(counts[row])]


def hash_source(source: str) -> str:
    """A short hash of a file's or folder's content; of the name where it is neither, as a hub id."""
    path, digest = Path(source), hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] * path.is_file()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 24):
                digest.update(block)
    if not files:
        digest.update(source.encode())
    return digest.hexdigest()[:12]
