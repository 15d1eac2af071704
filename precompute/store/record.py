"""A run's own record as columns of the store: run, methods, clips, diagnostics, evaluations."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from precompute.clips.prompts import Prompt
from precompute.common.results import read_commit
from precompute.config.run import RunConfig
from precompute.corpus.audio import Analysis, analyse
from precompute.corpus.intake import Corpus
from precompute.methods.run import MethodRun
from precompute.model.diffusion import Items, Model
from precompute.store import tables
from precompute.store.publication import Columns, relative_path

PACKAGES = ("torch", "stable-audio-tools", "transformers", "numpy", "duckdb", "soundfile")


def run_columns(config: RunConfig, model: Model, started: datetime, seconds: float) -> Columns:
    versions = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return {
        "run_id": [1],
        "config_toml": [config.text],
        "versions_json": [json.dumps(versions)],
        "commit_hash": [read_commit()],
        "model_sha256": [model.sha256],
        "device": [f"{model.device} ({platform.machine()}, {torch.get_num_threads()} threads)"],
        "started_at": [started.replace(tzinfo=None)],
        "duration_s": [seconds],
    }


def kept_evaluations(folder: Path, model_sha256: str) -> Columns:
    """Table `evaluations`: what `evaluate` kept in a folder, of this model alone."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        ours = isinstance(kept, dict) and kept.get("model_sha256") == model_sha256
        if ours and " evaluate " in kept.get("command", ""):
            found[kept["command"].split(" evaluate ")[1].split()[0]] = json.dumps(kept, separators=(",", ":"))
    return {"name": list(found), "result_json": list(found.values())}


def method_columns(done: MethodRun, config: RunConfig) -> Columns:
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
        "cost_s": [done.cost_s],
    }


def clip_columns(
    prompts: list[Prompt],
    clips: Items,
    paths: list[Path],
    clip_ids: list[int],
    target_rows: np.ndarray,
    corpus: Corpus,
    analyses: dict[int, Analysis],
    folder: Path,
) -> Columns:
    targets = [corpus.tracks[row] for row in target_rows]
    columns: Columns = {
        "clip_id": clip_ids,
        "kind": [p.kind for p in prompts] + ["track"] * len(targets),
        "target_track_id": [None] * len(prompts) + [t.track_id for t in targets],
        "prompt": [p.text or None for p in prompts] + [t.caption for t in targets],
        "conditioning": [p.conditioning for p in prompts] + ["prompt"] * len(targets),
        "title": [p.title for p in prompts] + [None] * len(targets),
        "seed": [p.seed for p in prompts] + [None] * len(targets),
        "duration_s": [float(s) for s in clips.seconds] + [t.duration_s for t in targets],
        "audio_path": [relative_path(p, folder) for p in paths] + [None] * len(targets),
    }
    columns.update(tables.analysis_columns([analyse(p) for p in paths] + [analyses.get(t.track_id) for t in targets]))
    return columns


def diagnostic_columns(method_id: int, step: int, report: Sequence[tuple[str, float, str]]) -> Columns:
    return {
        "method_id": [method_id] * len(report),
        "checkpoint_step": [step] * len(report),
        "name": [row[0] for row in report],
        "value": [row[1] for row in report],
        "meaning": [row[2] for row in report],
    }
