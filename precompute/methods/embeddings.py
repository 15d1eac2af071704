"""What the methods that listen share: embeddings of all recordings of a run, and a checkpoint's name by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from precompute.common.cache import Arrays
from precompute.common.progress import progress
from precompute.corpus.audio import AudioError
from precompute.errors import UserError
from precompute.methods.base import Context


def embeddings(context: Context, embed: Callable[[np.ndarray], np.ndarray], rate: int, what: str) -> Arrays:
    """Embeddings of tracks, shown and cohort clips; targets are tracks, `of` looks them up.

    `embed`: a mono waveform [T] at `rate` -> [W, E], one row a window. For each kind, its name holds the rows of all
    recordings, [sum of W, E] float32, and its name with `_windows` how many each has. What is heard through the
    autoencoder is embedded once for all contexts that share a memo's "recordings".
    """
    known: dict[tuple[str, int, str], np.ndarray] = context.once("recordings", dict)

    def one(kind: str, row: int) -> np.ndarray:
        if kind == "tracks" and not context.decoded:
            return embed(_mono(context, kind, row, rate))
        items = context.items if kind == "tracks" else getattr(context.queries, kind)
        content = items.latents[row].numpy().tobytes() + items.seconds[row].numpy().tobytes()
        name = (what, rate, hashlib.sha256(content).hexdigest())
        if name not in known:
            known[name] = embed(_mono(context, kind, row, rate))
        return known[name]

    found: Arrays = {}
    for kind, count in (
        ("tracks", len(context.items)),
        ("shown", len(context.queries.shown)),
        ("cohort", len(context.queries.cohort)),
    ):
        rows = [one(kind, row) for row in progress(f"{what}, {kind}", range(count))]
        found[kind] = np.concatenate(rows).astype(np.float32)
        found[f"{kind}_windows"] = np.array([len(row) for row in rows])
    return found


def _mono(context: Context, kind: str, row: int, rate: int) -> np.ndarray:
    """[T]. Raises UserError where a file has gone since the run began."""
    try:
        return context.audio(kind, row, rate)[0].mean(0)
    except AudioError as error:
        raise UserError(f"{context.tracks[row].path}: {error}") from error


def of(found: Arrays, context: Context, kind: str, row: int) -> np.ndarray:
    """Windows [W, E] of one recording, from what `embeddings` gave."""
    if kind == "targets":
        kind, row = "tracks", int(context.target_rows[row])
    counts = found[f"{kind}_windows"]
    start = int(counts[:row].sum())
    return found[kind][start : start + int(counts[row])]


def digest(source: str) -> str:
    """A short hash of a file's or folder's content; of the name where it is neither, as a hub id."""
    path, found = Path(source), hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] * path.is_file()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 24):
                found.update(block)
    if not files:
        found.update(source.encode())
    return found.hexdigest()[:12]
