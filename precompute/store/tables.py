"""Results -> the store's columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precompute.corpus.audio import Analysis
from precompute.corpus.tracks import UNKNOWN, Track
from precompute.significance.agreement import measure_agreement
from precompute.significance.verdicts import Verdicts
from precompute.store.publication import Columns

PARTS = 100  # best-ranked tracks of a clip whose strata are kept
DECIMALS = 5  # of what is in units of a deviation, as stored: far below its error, and half the bytes


def score_columns(verdicts: Verdicts, clip_ids: Sequence[int], tracks: Sequence[Track], method_id: int) -> Columns:
    """Table `scores`, sorted by clip and track."""
    count, ids = len(clip_ids), np.array([t.track_id for t in tracks])
    train_rank = verdicts.train_rank.ravel()
    return {
        "method_id": np.full(count * len(ids), method_id),
        "clip_id": np.repeat(clip_ids, len(ids)),
        "track_id": np.tile(ids, count),
        "score": verdicts.score.ravel(),
        "std_error": verdicts.std_error.ravel(),
        "score_norm": verdicts.score_norm.ravel().round(DECIMALS),
        "std_error_norm": verdicts.std_error_norm.ravel().round(DECIMALS),
        "q_value": verdicts.q_value.ravel().round(DECIMALS),
        "above_noise": verdicts.above_noise.ravel(),
        "rank": verdicts.rank.ravel(),
        "train_rank": [int(r) or None for r in train_rank],
    }


def part_columns(
    cells: np.ndarray,
    verdicts: Verdicts,
    clip_ids: Sequence[int],
    tracks: Sequence[Track],
    method_id: int,
    t_low: float = 0.0,
) -> Columns:
    """Table `score_parts`: the score by stratum of t, for the best-ranked tracks of each clip; none without strata.

    `t_low`: of the noise bank.
    """
    strata = cells.shape[3]
    if strata == 1:
        return {}
    parts = cells.mean((2, 4))  # [Q, N, S]
    columns: Columns = {name: [] for name in ("method_id", "clip_id", "track_id", "t_low", "t_high", "score")}
    for q, clip_id in enumerate(clip_ids):
        for i in np.flatnonzero(verdicts.rank[q] <= PARTS):
            columns["method_id"] += [method_id] * strata
            columns["clip_id"] += [clip_id] * strata
            columns["track_id"] += [tracks[i].track_id] * strata
            edges = np.linspace(t_low, 1, strata + 1).tolist()
            columns["t_low"] += edges[:-1]
            columns["t_high"] += edges[1:]
            columns["score"] += parts[q, i].tolist()
    return columns


def moment_columns(
    rises: dict[tuple[int, int], np.ndarray],
    clip_ids: Sequence[int],
    tracks: Sequence[Track],
    valid_frames: np.ndarray,
    frame_rate_hz: float,
    least_rate_hz: float,
    method_id: int,
) -> Columns:
    """Table `moments`: frames averaged down to the lowest whole rate that is not below `least_rate_hz`."""
    group = max(1, int(frame_rate_hz / least_rate_hz))
    columns: Columns = {name: [] for name in ("method_id", "clip_id", "track_id", "rate_hz", "influence")}
    for (q, i), rise in sorted(rises.items()):
        frames = rise[: valid_frames[i]]
        edges = np.arange(0, len(frames), group)
        columns["method_id"].append(method_id)
        columns["clip_id"].append(clip_ids[q])
        columns["track_id"].append(tracks[i].track_id)
        columns["rate_hz"].append(frame_rate_hz / group)
        columns["influence"].append((np.add.reduceat(frames, edges) / group).astype(np.float32))
    return columns


def clip_moment_columns(
    windows: np.ndarray, clip_ids: Sequence[int], tracks: Sequence[Track], window_s: float, method_id: int
) -> Columns:
    """Table `clip_moments`, from [Q, N, W] (NaN past a clip's end)."""
    columns: Columns = {name: [] for name in ("method_id", "clip_id", "track_id", "window_s", "influence")}
    for q, clip_id in enumerate(clip_ids):
        kept = np.isfinite(windows[q, 0])
        columns["method_id"] += [method_id] * len(tracks)
        columns["clip_id"] += [clip_id] * len(tracks)
        columns["track_id"] += [t.track_id for t in tracks]
        columns["window_s"] += [window_s] * len(tracks)
        columns["influence"] += list(windows[q][:, kept].astype(np.float32))
    return columns


def track_columns(tracks: Sequence[Track], analyses: dict[int, Analysis], audio_paths: dict[int, str]) -> Columns:
    """Table `tracks`."""
    texts = (
        "work_id title composer collection rights_holder licence_composition licence_encoding licence_rendering"
        " licence_evidence source instrument caption audition"
    ).split()
    columns: Columns = {name: [getattr(t, name) for t in tracks] for name in texts}
    columns["isrc"] = [t.isrc or None for t in tracks]
    columns["iswc"] = [t.iswc or None for t in tracks]
    columns["track_id"] = [t.track_id for t in tracks]
    columns["is_decoy"] = [t.is_decoy for t in tracks]
    columns["planted"] = [t.planted or None for t in tracks]
    columns["duration_s"] = [t.duration_s for t in tracks]
    columns["audio_path"] = [audio_paths.get(t.track_id) for t in tracks]
    columns.update(analysis_columns([analyses.get(t.track_id) for t in tracks]))
    return columns


def holder_columns(tracks: Sequence[Track]) -> Columns:
    """Table `holders`: all that the manifest or the tags name; else a track's composer and its rights holder."""
    pairs = [(t.track_id, name, role) for t in tracks for name, role in _holders(t) if name and name != UNKNOWN]
    return {name: [pair[k] for pair in pairs] for k, name in enumerate(("track_id", "holder", "role"))}


def _holders(track: Track) -> tuple[tuple[str, str], ...]:
    if track.holders:
        return track.holders
    return (track.composer, "composer"), (track.rights_holder, "rights holder")


def analysis_columns(analyses: Sequence[Analysis | None]) -> Columns:
    """What the player needs, shared by tracks and clips."""
    return {
        "audio_sha256": [a.sha256 if a else None for a in analyses],
        "loudness_lufs": [a.loudness_lufs if a else None for a in analyses],
        "peak_dbfs": [a.peak_dbfs if a else None for a in analyses],
        "peaks": [a.peaks if a else None for a in analyses],
    }


def agreement_columns(method_ids: Sequence[int], scores: Sequence[np.ndarray]) -> Columns:
    """Table `agreement`, both orders of every pair; `scores` by method: [Q, N], generated clips and training tracks."""
    columns: Columns = {name: [] for name in ("method_a", "method_b", "pearson", "spearman", "top10", "top100")}
    for a, one in zip(method_ids, scores, strict=True):
        for b, other in zip(method_ids, scores, strict=True):
            if a == b:
                continue
            columns["method_a"].append(a)
            columns["method_b"].append(b)
            for name, value in measure_agreement(one, other).items():
                columns[name].append(value)
    return columns
