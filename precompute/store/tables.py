"""A run's results -> the store's columns: functions `tabulate_X`, most of them for one table of `explorer/schema.sql`.

Elsewhere: `clips` and `store_info` are put together in `pipeline.py`, aspects and passages in `resemblance/tables.py`,
evaluations in `store/evaluations.py`, and `explorer/derived.sql` fills what follows from other tables.
Arrays: Q clips x N tracks, in the order of the ids of `ResultKeys`; higher score = stronger influence. Times are in
seconds, rates in hertz. Audio paths are relative to the folders that table `store_info` names.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from precompute.clips.prompts import Prompt
from precompute.common.results import read_commit
from precompute.config.run import RunConfig
from precompute.corpus.audio import Analysis, analyse
from precompute.corpus.tracks import UNKNOWN, Track
from precompute.methods.run import MethodRun
from precompute.model.diffusion import Model
from precompute.significance.agreement import measure_agreement
from precompute.significance.verdicts import Verdicts
from precompute.store.publication import Columns, make_relative_path

PARTS = 100  # best-ranked tracks of a clip whose strata are stored
PACKAGES = ("torch", "stable-audio-tools", "transformers", "numpy", "duckdb", "soundfile")


@dataclass(frozen=True)
class ResultKeys:
    """Ids of method, clips and tracks, which the rows of one method's results are named by."""

    method_id: int
    clip_ids: Sequence[int]  # [Q]
    tracks: Sequence[Track]  # [N]


def tabulate_run(
    config: RunConfig, model: Model, started: datetime, seconds: float, run_id: int = 1, model_note: str | None = None
) -> Columns:
    """Table `runs`: one row; `started` with its time zone, `seconds` that the run took.

    `model_note`: what sets a tuned model apart, one plain clause.
    """
    versions = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return {
        "run_id": [run_id],
        "model_note": [model_note],
        "config_toml": [config.text],
        "versions_json": [json.dumps(versions)],
        "commit_hash": [read_commit()],
        "model_sha256": [model.sha256],
        "device": [f"{model.device} ({platform.machine()}, {torch.get_num_threads()} threads)"],
        "started_at": [started.replace(tzinfo=None)],
        "duration_s": [seconds],
    }


def tabulate_method(done: MethodRun, config: RunConfig, reliability: float | None) -> Columns:
    """Table `methods`: one row, its settings with those of the run that its scores depend on.

    `reliability`: of its rankings, by `verdicts.measure_reliability`.
    """
    method = done.method
    settings = {
        **method.describe_settings(),
        "bank": vars(config.bank),
        "fisher": vars(config.fisher),
        "clips": vars(config.clips),
    }
    return {
        "method_id": [done.method_id],
        "run_id": [1],
        "name": [method.name],
        "label": [method.label],
        "description": [method.description],
        "settings_json": [json.dumps(settings)],
        "has_moments": [method.has_moments],
        "reliability": [reliability],
        "cost_s": [done.cost_s],
    }


def tabulate_skipped(skipped: Sequence[tuple[str, str, str]]) -> Columns:
    """Table `skipped_methods`, from (name, label, reason) each."""
    return {name: [row[place] for row in skipped] for place, name in enumerate(("name", "label", "reason"))}


def tabulate_tracks(tracks: Sequence[Track], analyses: Mapping[int, Analysis], audio_paths: dict[int, str]) -> Columns:
    """Table `tracks`; `analyses` and `audio_paths` by track id, of the tracks whose audio is at hand."""
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
    return columns | tabulate_analyses([analyses.get(t.track_id) for t in tracks])


def tabulate_holders(tracks: Sequence[Track]) -> Columns:
    """Table `holders`: all that the manifest or the tags name; else a track's composer and its rights holder."""
    pairs = [(t.track_id, name, role) for t in tracks for name, role in _list_holders(t) if name and name != UNKNOWN]
    return {name: [pair[k] for pair in pairs] for k, name in enumerate(("track_id", "holder", "role"))}


def _list_holders(track: Track) -> tuple[tuple[str, str], ...]:
    if track.holders:
        return track.holders
    return (track.composer, "composer"), (track.rights_holder, "rights holder")


def tabulate_prompted_clips(
    prompts: Sequence[Prompt],
    clip_ids: Sequence[int],
    seconds: Sequence[float],
    paths: Sequence[Path],
    folder: Path,
    run_id: int = 1,
) -> Columns:
    """Table `clips`: those made from prompts or brought by a user, [Q] each; `paths` of their audio, below `folder`."""
    columns: Columns = {
        "clip_id": list(clip_ids),
        "run_id": [run_id] * len(prompts),
        "kind": [p.kind for p in prompts],
        "target_track_id": [None] * len(prompts),
        "prompt": [p.text or None for p in prompts],
        "conditioning": [p.conditioning for p in prompts],
        "title": [p.title for p in prompts],
        "seed": [p.seed for p in prompts],
        "duration_s": [float(s) for s in seconds],
        "audio_path": [make_relative_path(path, folder) for path in paths],
    }
    return columns | tabulate_analyses([analyse(path) for path in paths])


def tabulate_target_clips(
    targets: Sequence[Track], clip_ids: Sequence[int], analyses: Mapping[int, Analysis]
) -> Columns:
    """Table `clips`: training tracks that are unlearned themselves; they are heard as the track that they are."""
    columns: Columns = {
        "clip_id": list(clip_ids),
        "run_id": [1] * len(targets),
        "kind": ["track"] * len(targets),
        "target_track_id": [t.track_id for t in targets],
        "prompt": [t.caption for t in targets],
        "conditioning": ["prompt"] * len(targets),
        "title": [None] * len(targets),
        "seed": [None] * len(targets),
        "duration_s": [t.duration_s for t in targets],
        "audio_path": [None] * len(targets),
    }
    return columns | tabulate_analyses([analyses.get(t.track_id) for t in targets])


def tabulate_analyses(analyses: Sequence[Analysis | None]) -> Columns:
    """Columns that the player needs, shared by tables `tracks` and `clips`; empty where there is no audio."""
    return {
        "audio_sha256": [a.sha256 if a else None for a in analyses],
        "loudness_lufs": [a.loudness_lufs if a else None for a in analyses],
        "peak_dbfs": [a.peak_dbfs if a else None for a in analyses],
        "peaks": [a.peaks if a else None for a in analyses],
    }


def tabulate_scores(verdicts: Verdicts, keys: ResultKeys) -> Columns:
    """Table `scores`, sorted by clip and track."""
    count, ids = len(keys.clip_ids), np.array([t.track_id for t in keys.tracks])
    return {
        "method_id": np.full(count * len(ids), keys.method_id),
        "clip_id": np.repeat(keys.clip_ids, len(ids)),
        "track_id": np.tile(ids, count),
        "score": verdicts.score.ravel(),
        "std_error": verdicts.std_error.ravel(),
        "score_norm": verdicts.score_norm.ravel(),
        "std_error_norm": verdicts.std_error_norm.ravel(),
        "match_bin": verdicts.match_bin.ravel(),
        "p_value": verdicts.p_value.ravel(),
        "q_value": verdicts.q_value.ravel(),
        "above_noise": verdicts.above_noise.ravel(),
        "rank": verdicts.rank.ravel(),
        "train_rank": [int(rank) or None for rank in verdicts.train_rank.ravel()],
    }


def tabulate_match_bins(verdicts: Verdicts, keys: ResultKeys) -> Columns:
    """Table `match_bins`: what the p-values rest on."""
    columns: Columns = {
        "method_id": [keys.method_id] * len(verdicts.bins),
        "clip_id": [keys.clip_ids[record.clip] for record in verdicts.bins],
    }
    names = ("match_bin", "candidates", "decoys", "null_rows", "null_works", "can_tell")
    return columns | {name: [getattr(record, name) for record in verdicts.bins] for name in names}


def tabulate_track_claims(verdicts: Verdicts, keys: ResultKeys) -> Columns:
    """Table `track_claims`."""
    claims = verdicts.of_tracks
    return {
        "method_id": np.full(len(keys.tracks), keys.method_id),
        "track_id": np.array([t.track_id for t in keys.tracks]),
        **{field.name: getattr(claims, field.name) for field in fields(claims)},
    }


def tabulate_score_parts(cells: np.ndarray, rank: np.ndarray, keys: ResultKeys, t_low: float = 0.0) -> Columns:
    """Table `score_parts`: the score by stratum of t, for the best-ranked tracks of each clip; empty without strata.

    `cells`: partial scores [Q, N, R, S, H]; `rank`: [Q, N]; `t_low`: the least t of the noise bank.
    """
    strata = cells.shape[3]
    if strata == 1:
        return {}
    parts = cells.mean((2, 4))  # [Q, N, S]
    edges = np.linspace(t_low, 1, strata + 1).tolist()
    columns: Columns = {name: [] for name in ("method_id", "clip_id", "track_id", "t_low", "t_high", "score")}
    for q, clip_id in enumerate(keys.clip_ids):
        for i in np.flatnonzero(rank[q] <= PARTS):
            columns["method_id"] += [keys.method_id] * strata
            columns["clip_id"] += [clip_id] * strata
            columns["track_id"] += [keys.tracks[i].track_id] * strata
            columns["t_low"] += edges[:-1]
            columns["t_high"] += edges[1:]
            columns["score"] += parts[q, i].tolist()
    return columns


def tabulate_moments(
    rises: dict[tuple[int, int], np.ndarray],
    keys: ResultKeys,
    valid_frames: np.ndarray,
    frame_rate_hz: float,
    least_rate_hz: float,
) -> Columns:
    """Table `moments`: frames averaged down to the lowest whole rate that is not below `least_rate_hz`.

    `rises`: influence by frame of the track, [F], by (clip row, track row); `valid_frames`: [N].
    """
    group = max(1, int(frame_rate_hz / least_rate_hz))
    columns: Columns = {name: [] for name in ("method_id", "clip_id", "track_id", "rate_hz", "influence")}
    for (q, i), rise in sorted(rises.items()):
        frames = rise[: valid_frames[i]]
        edges = np.arange(0, len(frames), group)
        columns["method_id"].append(keys.method_id)
        columns["clip_id"].append(keys.clip_ids[q])
        columns["track_id"].append(keys.tracks[i].track_id)
        columns["rate_hz"].append(frame_rate_hz / group)
        columns["influence"].append((np.add.reduceat(frames, edges) / group).astype(np.float32))
    return columns


def tabulate_clip_moments(windows: np.ndarray, keys: ResultKeys, window_s: float) -> Columns:
    """Table `clip_moments`, from parts by window of the first clips, [<= Q, N, W] (NaN past a clip's end)."""
    columns: Columns = {name: [] for name in ("method_id", "clip_id", "track_id", "window_s", "influence")}
    for clip_id, by_track in zip(keys.clip_ids, windows, strict=False):
        inside = np.isfinite(by_track[0])
        columns["method_id"] += [keys.method_id] * len(keys.tracks)
        columns["clip_id"] += [clip_id] * len(keys.tracks)
        columns["track_id"] += [t.track_id for t in keys.tracks]
        columns["window_s"] += [window_s] * len(keys.tracks)
        columns["influence"] += list(by_track[:, inside].astype(np.float32))
    return columns


def tabulate_diagnostics(method_id: int, step: int, figures: Sequence[tuple[str, float, str]]) -> Columns:
    """Table `diagnostics`: (name, value, meaning) each, of one method at one step of the training."""
    return {
        "method_id": [method_id] * len(figures),
        "checkpoint_step": [step] * len(figures),
        "name": [name for name, _, _ in figures],
        "value": [value for _, value, _ in figures],
        "meaning": [meaning for _, _, meaning in figures],
    }


def tabulate_agreement(method_ids: Sequence[int], scores: Sequence[np.ndarray]) -> Columns:
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
