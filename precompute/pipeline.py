"""The table of contents: corpus -> latents -> clips -> Fisher -> directions -> scores -> moments -> published store."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from explorer.store import SCHEMA_VERSION
from precompute import rows
from precompute.cache import Cache, duration, progress
from precompute.clips import Prompt, choose_targets, write_audio
from precompute.config import RunConfig, fingerprint
from precompute.corpus import Analysis, analyse
from precompute.engine import Queries, Scores, attribute, moments_of, noise_bank, preconditioner
from precompute.evaluate.audit import audit_clip
from precompute.methods.base import Unlearning
from precompute.model import Items, Model
from precompute.publish import Columns, StoreContents, publish, relative_path, relative_root
from precompute.resemblance.stage import pairs_of, resemblance
from precompute.stages import Corpus, load_clips, load_cohort, load_corpus, load_latents, load_model

METHOD_ID = 1
TARGET_CLIP_ID = 1000  # clips of kind 'track' count up from here
NO_DECOYS = "No decoys were scored, so no score can be told from noise."
PACKAGES = ("torch", "stable-audio-tools", "transformers", "numpy", "duckdb", "soundfile")


def run(config: RunConfig, audit: bool = False) -> Path:
    """Do what is not yet done, publish the store, and return its path."""
    began, started = time.monotonic(), datetime.now(timezone.utc)
    cache = Cache(Path(config.output.work) / "cache")
    print("corpus", flush=True)
    corpus = load_corpus(config)
    model = load_model(config)
    decoys = len(corpus.tracks) - len(corpus.trained)
    print(f"  {len(corpus.trained)} training tracks, {decoys} decoys; model {model.sha256[:12]}", flush=True)
    note = config.output.note
    if not decoys:
        note = f"{note} {NO_DECOYS}".strip()
        print(f"  {NO_DECOYS}", flush=True)
    method = Unlearning(config.unlearning, len(corpus.trained))

    items, key, prompts, clips, scores, target_rows = score_run(model, corpus, config, cache, method)
    found = rows.calibrated(scores.cells, scores.cohort, corpus.tracks)
    pairs = _moment_pairs(found, corpus, len(prompts), config.moments.tracks)
    rises = moments_of(model, method, items, pairs, scores.directions, config, cache, key)
    if audit:
        _audit(model, items, scores, prompts, config)
    reports = _diagnose(found, target_rows, corpus, len(prompts), config, cache)

    clip_ids = [p.clip_id for p in prompts] + [TARGET_CLIP_ID + i for i in range(len(target_rows))]
    store = Path(config.output.store)
    clip_folder = Path(config.output.clips)
    clip_paths = write_audio(model, clips, prompts, clip_folder)
    analyses = _analyses(corpus)
    own_paths = [p.path for p in prompts] + [corpus.tracks[row].path for row in target_rows]
    both = [clips, items[target_rows.tolist()]]
    near = pairs_of([found.train_rank])
    aspects, passages = resemblance(model, corpus, items, both, clip_ids, own_paths, near, cache)
    window_s = max(1, round(config.unlearning.window_s * model.frame_rate)) / model.frame_rate
    contents = StoreContents(
        store_info={
            "version": [SCHEMA_VERSION],
            "track_root": [relative_root(corpus.root, store)],
            "clip_root": [relative_root(clip_folder, store)],
            "note": [note or None],
        },
        runs=_run_columns(config, model, started, time.monotonic() - began),
        tracks=rows.track_columns(corpus.tracks, analyses, _audio_paths(corpus)),
        holders=rows.holder_columns(corpus.tracks),
        clips=_clip_columns(prompts, clips, clip_paths, clip_ids, target_rows, corpus, analyses, clip_folder),
        methods=_method_columns(method, config),
        scores=rows.score_columns(found, clip_ids, corpus.tracks, METHOD_ID),
        score_parts=rows.part_columns(scores.cells, found, clip_ids, corpus.tracks, METHOD_ID),
        moments=rows.moment_columns(
            rises,
            clip_ids,
            corpus.tracks,
            items.valid_frames.numpy(),
            model.frame_rate,
            config.moments.rate_hz,
            METHOD_ID,
        ),
        clip_moments=rows.clip_moment_columns(
            scores.windows, clip_ids[: len(prompts)], corpus.tracks, window_s, METHOD_ID
        ),
        diagnostics=_diagnostic_columns(reports),
        aspects=aspects,
        passages=passages,
    )
    publish(contents, store)
    print(f"published {store} in {duration(time.monotonic() - began)}", flush=True)
    return store


def score_run(
    model: Model, corpus: Corpus, config: RunConfig, cache: Cache, method: Unlearning
) -> tuple[Items, str, list[Prompt], Items, Scores, np.ndarray]:
    """Latents, clips, Fisher, directions and scores of one set of weights."""
    items, key = load_latents(model, corpus, config, cache)
    prompts, clips = load_clips(model, config, cache)
    cohort = load_cohort(model, corpus, config, cache)
    row_of = {track.track_id: row for row, track in enumerate(corpus.tracks)}
    target_rows = np.array([row_of[t.track_id] for t in choose_targets(corpus.tracks, config.clips.targets)], dtype=int)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    inverse_fisher = preconditioner(model, items[trained], config, cache, key)
    queries = Queries(shown=clips, targets=items[target_rows.tolist()], cohort=cohort)
    clip_key = fingerprint(key, [p.key for p in prompts], config.clips)
    scores = attribute(model, method, queries, items, inverse_fisher, config, cache, clip_key)
    return items, clip_key, prompts, clips, scores, target_rows


def _moment_pairs(found: rows.Calibrated, corpus: Corpus, shown: int, tracks: int) -> list[tuple[int, int]]:
    """(clip, track) rows whose moments are computed: the best-ranked training tracks of each generated clip."""
    chosen = found.train_rank[:shown]
    return [(int(q), int(i)) for q, i in zip(*np.nonzero((chosen > 0) & (chosen <= tracks)), strict=True)]


def _audit(model: Model, items: Items, scores: Scores, prompts: list[Prompt], config: RunConfig) -> None:
    """Way (a) for the first clip and every track; prints rho."""
    direction = torch.from_numpy(scores.directions[0])
    rhos = audit_clip(model, items, direction, scores.score[0], config.unlearning, noise_bank(config.bank))
    print(f"audit, clip {prompts[0].clip_id}, {len(items)} tracks: rho {rhos[0]:.4f} (step 1e-5), {rhos[1]:.4f} (1e-4)")


def _diagnose(
    found: rows.Calibrated,
    target_rows: np.ndarray,
    corpus: Corpus,
    shown: int,
    config: RunConfig,
    cache: Cache,
) -> dict[int, list[tuple[str, float, str]]]:
    """Diagnostics of theta_0 and of the checkpoints kept along its training, by training step."""
    reports = {config.diagnostics.final_step: rows.diagnostics(found, target_rows, corpus.tracks, shown)}
    folder = Path(config.diagnostics.checkpoints)
    paths = sorted(folder.glob("step-*/model.safetensors")) if config.diagnostics.checkpoints else []
    reduced = config.diagnostics.reduced(config)
    method = Unlearning(reduced.unlearning, len(corpus.trained))
    if config.diagnostics.checkpoints and not paths:
        print(f"  {folder}: no checkpoints here; diagnostics for the shipped weights alone", flush=True)
    for path in paths:
        step = int(path.parent.name.removeprefix("step-"))
        if step == config.diagnostics.final_step:
            continue
        print(f"diagnostics at training step {step}", flush=True)
        model = load_model(config, path)
        _, _, _, _, scores, _ = score_run(model, corpus, reduced, cache, method)
        early = rows.calibrated(scores.cells, scores.cohort, corpus.tracks)
        reports[step] = rows.diagnostics(early, target_rows, corpus.tracks, shown)
    for step, report in sorted(reports.items()):
        print(f"step {step}: " + ", ".join(f"{name} {value:.3g}" for name, value, _ in report), flush=True)
    return reports


def _analyses(corpus: Corpus) -> dict[int, Analysis]:
    """Loudness, peaks and hashes of all audio at hand."""
    found = {}
    for track in progress("loudness and peaks", [t for t in corpus.tracks if t.path]):
        found[track.track_id] = analyse(track.path)  # type: ignore[arg-type]
    return found


def _audio_paths(corpus: Corpus) -> dict[int, str]:
    return {t.track_id: relative_path(t.path, corpus.root) for t in corpus.tracks if t.path}


def _run_columns(config: RunConfig, model: Model, started: datetime, seconds: float) -> Columns:
    versions = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return {
        "run_id": [1],
        "config_toml": [config.text],
        "versions_json": [json.dumps(versions)],
        "commit_hash": [commit_hash()],
        "model_sha256": [model.sha256],
        "device": [f"{model.device} ({platform.machine()}, {torch.get_num_threads()} threads)"],
        "started_at": [started.replace(tzinfo=None)],
        "duration_s": [seconds],
    }


def commit_hash() -> str | None:
    """Hash of the code's commit, with '-dirty' where files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None


def _method_columns(method: Unlearning, config: RunConfig) -> Columns:
    settings = {
        **method.settings(),
        "bank": vars(config.bank),
        "fisher": vars(config.fisher),
        "clips": vars(config.clips),
    }
    return {
        "method_id": [METHOD_ID],
        "run_id": [1],
        "name": [method.name],
        "label": [method.label],
        "description": [method.description],
        "settings_json": [json.dumps(settings)],
        "has_moments": [method.has_moments],
    }


def _clip_columns(
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
    columns.update(rows.analysis_columns([analyse(p) for p in paths] + [analyses.get(t.track_id) for t in targets]))
    return columns


def _diagnostic_columns(reports: dict[int, list[tuple[str, float, str]]]) -> Columns:
    flat = [(step, *row) for step, report in sorted(reports.items()) for row in report]
    return {
        "method_id": [METHOD_ID] * len(flat),
        "checkpoint_step": [row[0] for row in flat],
        "name": [row[1] for row in flat],
        "value": [row[2] for row in flat],
        "meaning": [row[3] for row in flat],
    }
