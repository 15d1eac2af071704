"""Results -> the store's columns: normalisation, q-values, ranks, moments, and what the run says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.corpus.tracks import UNKNOWN, Analysis, Track
from precompute.significance import error_rates
from precompute.significance.normalisation import Normalisation
from precompute.store.publication import Columns

PARTS = 100  # best-ranked tracks of a clip whose strata are kept
DECIMALS = 5  # of what is in units of a deviation, as stored: far below its error, and half the bytes


@dataclass(frozen=True)
class Calibrated:
    """Scores with all that the store says of them; arrays [Q, N]."""

    score: np.ndarray
    std_error: np.ndarray
    score_norm: np.ndarray
    std_error_norm: np.ndarray
    q_value: np.ndarray
    above_noise: np.ndarray
    rank: np.ndarray
    train_rank: np.ndarray  # 0 for decoys


def masks(tracks: Sequence[Track]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regular training tracks, regular decoys (these two enter the statistics), and all training tracks; bool [N]."""
    decoy = np.array([t.is_decoy for t in tracks])
    regular = np.array([not t.planted for t in tracks])
    return ~decoy & regular, decoy & regular, ~decoy


def calibrated(cells: np.ndarray, cohort: np.ndarray, tracks: Sequence[Track]) -> Calibrated:
    """From partial scores [Q, N, R, S, HALVES] and cohort scores [K, N]."""
    is_train, is_decoy, trained = masks(tracks)
    score = cells.mean((2, 3, 4))
    replicates = cells.mean(3).transpose(2, 3, 0, 1)
    std_error = error_rates.standard_error(replicates)
    normalisation = Normalisation.fit(cohort, is_train, is_decoy)
    score_norm, std_error_norm = normalisation(score), normalisation.error(replicates)
    q_value = np.stack([error_rates.q_values(row, is_train, is_decoy) for row in score_norm])
    train_rank = np.zeros(score.shape, dtype=int)
    train_rank[:, trained] = error_rates.ranks(score_norm[:, trained])
    return Calibrated(
        score=score,
        std_error=std_error,
        score_norm=score_norm,
        std_error_norm=std_error_norm,
        q_value=q_value,
        above_noise=error_rates.above_noise(score_norm, std_error_norm, q_value),
        rank=error_rates.ranks(score_norm),
        train_rank=train_rank,
    )


def score_columns(found: Calibrated, clip_ids: Sequence[int], tracks: Sequence[Track], method_id: int) -> Columns:
    """Table `scores`, sorted by clip and track."""
    count, ids = len(clip_ids), np.array([t.track_id for t in tracks])
    train_rank = found.train_rank.ravel()
    return {
        "method_id": np.full(count * len(ids), method_id),
        "clip_id": np.repeat(clip_ids, len(ids)),
        "track_id": np.tile(ids, count),
        "score": found.score.ravel(),
        "std_error": found.std_error.ravel(),
        "score_norm": found.score_norm.ravel().round(DECIMALS),
        "std_error_norm": found.std_error_norm.ravel().round(DECIMALS),
        "q_value": found.q_value.ravel().round(DECIMALS),
        "above_noise": found.above_noise.ravel(),
        "rank": found.rank.ravel(),
        "train_rank": [int(r) or None for r in train_rank],
    }


def part_columns(
    cells: np.ndarray,
    found: Calibrated,
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
        for i in np.flatnonzero(found.rank[q] <= PARTS):
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


def diagnostics(
    found: Calibrated, targets: np.ndarray, tracks: Sequence[Track], generated: int
) -> list[tuple[str, float, str]]:
    """(name, value, meaning): what the run says about itself, good or bad.

    The first `generated` rows of `found` are generated clips; the rest unlearn the track rows `targets` [T].
    """
    is_train, is_decoy, trained = masks(tracks)
    raw, norm = found.score[:generated], found.score_norm[:generated]
    seconds = np.array([t.duration_s for t in tracks])
    rows: list[tuple[str, float, str]] = []
    if is_decoy.any():
        chance = float(is_decoy.sum() / (is_train.sum() + is_decoy.sum()))
        rows.append(("decoys_chance", chance, "share of decoys among regular items: what a random ranking shows"))
        for name, scores in (("raw", raw), ("norm", norm)):
            for top in (10, 40):
                share = error_rates.decoys_in_top(scores, is_train, is_decoy, top)
                rows.append(
                    (f"decoys_top{top}_{name}", share, f"share of never-heard decoys in the top {top}, {name} score")
                )
            area = error_rates.area_under_curve(scores, is_train, is_decoy)
            rows.append((f"auc_{name}", area, f"probability that a training track outranks a decoy, {name} score"))
        rate = error_rates.empirical_error_rate(norm, is_decoy)
        meaning = "share of clips where half of the decoys, posing as tracks, pass q <= 0.10"
        rows.append(("fdr_empirical", rate, meaning))
    for top in (1, 10, 100):
        share = error_rates.share_of_top(raw[:, trained], top)
        rows.append(
            (f"share_top{top}_raw", share, f"share of the positive raw score held by the top {top} training tracks")
        )
        share = error_rates.share_of_top(norm[:, trained], top)
        meaning = f"share of the positive normalised score held by the top {top} training tracks"
        rows.append((f"share_top{top}_norm", share, meaning))
    for name, scores in (("raw", raw), ("norm", norm)):
        value = error_rates.correlation_between_clips(scores[:, trained])
        rows.append((f"clip_correlation_{name}", value, f"mean Spearman correlation of clips' rankings, {name} score"))
        value = error_rates.correlation_with(scores[:, trained], seconds[trained])
        rows.append(
            (f"duration_correlation_{name}", value, f"mean Spearman correlation of {name} score and track length")
        )
    above = float((found.above_noise[:generated] & trained).sum(1).mean())
    rows.append(("above_noise_mean", above, "training tracks above noise, mean over generated clips"))
    false = float((found.above_noise[:generated] & is_decoy).sum(1).mean())
    rows.append(("above_noise_decoys_mean", false, "decoys that meet the same criteria, mean over generated clips"))
    if len(targets):
        own_raw = error_rates.ranks(found.score[generated:])[np.arange(len(targets)), targets]
        own_norm = found.rank[generated:][np.arange(len(targets)), targets]
        rows.append(
            (
                "self_rank_raw",
                float(own_raw.mean()),
                "R: mean rank of an unlearned training track in its own raw ranking",
            )
        )
        meaning = "R: mean rank of an unlearned training track in its own normalised ranking"
        rows.append(("self_rank_norm", float(own_norm.mean()), meaning))
    return rows
