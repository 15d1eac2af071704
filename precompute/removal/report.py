"""The report of `precompute remove`, and its lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

IDS_SHOWN = 8  # in a message
MODEL_NOTE = "The model still contains what was taken out: only training again without it takes it out of the model."


@dataclass(frozen=True)
class RemovalReport:
    """Tracks, clips, evaluations, files and rows that were taken out."""

    tracks: tuple[int, ...]
    clips: tuple[int, ...]  # controls that were such a track
    evaluations: tuple[str, ...]  # that named one
    deleted_files: tuple[Path, ...]  # sound
    shared_files: tuple[Path, ...]  # sound that stays, because other tracks use it too
    manifest_rows: int
    index: Path | None = None  # whose rows were dropped
    index_rows: int | None = None
    was_done: bool = False  # the store was without them already: the same command had been here before


def describe_removal(report: RemovalReport, store: Path) -> list[str]:
    """Lines for a terminal."""
    plural = "" if len(report.tracks) == 1 else "s"
    named = f"track{plural} {format_ids(report.tracks)}" if report.tracks else "these tracks"
    if report.was_done:
        lines = [f"{store} is without {named} already: the same command took them out before"]
    else:
        lines = [f"removed {named} from {store}: a new version is in place"]
    if report.clips:
        lines.append(f"  with control clips that were such tracks: {format_ids(report.clips)}")
    if report.evaluations:
        lines.append(f"  with evaluations that named one: {', '.join(report.evaluations)}")
    if not report.was_done:
        remade = "ranks, q-values and summaries were made again"
        lines.append(f"  {remade}; scores, p-values, agreement, diagnostics stay as of the run")
    if report.index is not None:
        entries = f"{report.index_rows} entr{'y' if report.index_rows == 1 else 'ies'}"
        lines.append(f"  dropped {entries} of the index {report.index}: a new version is in place")
        if not report.manifest_rows:
            lines.append("  `precompute index` adds again what the corpus lists: take it out there too (--manifest)")
    else:
        lines.append("  no index was touched: where there is one, name it with --index")
    if report.manifest_rows:
        lines.append(f"  dropped {report.manifest_rows} rows of the manifest")
    lines += [f"  deleted {path}" for path in report.deleted_files]
    lines += [f"  kept {path}: other tracks use it too" for path in report.shared_files]
    lines.append(MODEL_NOTE)
    lines.append(
        "Caches of runs (the work folder), latents and copies of the old store may still hold it: delete them too."
    )
    return lines


def format_ids(ids: Sequence[int]) -> str:
    """The first ids, and how many more there are."""
    more = f" and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
    return ", ".join(map(str, ids[:IDS_SHOWN])) + more
