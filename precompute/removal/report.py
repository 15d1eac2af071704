"""What `precompute remove` did, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 8  # ids in a message
STILL = "The model still contains what was taken out: only training again without it takes it out of the model."


@dataclass(frozen=True)
class Removed:
    """What was done."""

    tracks: tuple[int, ...]
    clips: tuple[int, ...]  # controls that were such a track
    evaluations: tuple[str, ...]  # that named one
    files: tuple[Path, ...]  # sound that was deleted
    kept_files: tuple[Path, ...]  # sound that other tracks use too
    manifest_rows: int
    index: Path | None = None  # whose rows were dropped
    index_rows: int | None = None


def told(removed: Removed, store: Path) -> list[str]:
    """What was done, a line each."""
    ids = some(removed.tracks)
    lines = [f"removed track{'' if len(removed.tracks) == 1 else 's'} {ids} from {store}: a new version is in place"]
    if removed.clips:
        lines.append(f"  with control clips that were such tracks: {some(removed.clips)}")
    if removed.evaluations:
        lines.append(f"  with evaluations that named one: {', '.join(removed.evaluations)}")
    lines.append(
        "  ranks, normalised scores, q-values and summaries were made again; agreement, diagnostics stay as of the run"
    )
    if removed.index is not None:
        rows = f"{removed.index_rows} entr{'y' if removed.index_rows == 1 else 'ies'}"
        lines.append(f"  dropped {rows} of the index {removed.index}: a new version is in place")
        if not removed.manifest_rows:
            lines.append("  `precompute index` adds again what the corpus lists: take it out there too (--manifest)")
    else:
        lines.append("  no index was touched: where there is one, name it with --index")
    if removed.manifest_rows:
        lines.append(f"  dropped {removed.manifest_rows} rows of the manifest")
    lines += [f"  deleted {path}" for path in removed.files]
    lines += [f"  kept {path}: other tracks use it too" for path in removed.kept_files]
    lines.append(STILL)
    lines.append(
        "Caches of runs (the work folder), latents and copies of the old store may still hold it: delete them too."
    )
    return lines


def some(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:SHOWN])) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
