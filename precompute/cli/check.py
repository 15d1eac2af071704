"""The verb `check`: prints what a config will run, what is missing, what is set aside and why, and the cost.

Every file of music is decoded once; nothing is written and no score computed. Ends in UserError where something is
missing, so that a script can rely on the exit code.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from precompute.clips.own import OwnClip, find_own_clips
from precompute.common.progress import format_duration
from precompute.config.run import ModelSection, RunConfig
from precompute.corpus.intake import Intake, summarise, take_in
from precompute.corpus.tracks import UNKNOWN
from precompute.corpus.windows import SLACK
from precompute.cost.run import (
    RunSize,
    estimate_disk_bytes,
    estimate_memory_bytes,
    estimate_seconds,
    read_parameter_counts,
)
from precompute.cost.work import TransformerSize
from precompute.errors import UserError
from precompute.model import hub
from precompute.model.hub import compute_window_s, read_model_config

LAYERS = {"to_kv": ".cross_attn.to_kv.", "cross_attn": ".cross_attn.", "self_attn": ".self_attn.", "all": "."}
CLAP_FILES = ("config.json", "model.safetensors")
Result = TypeVar("Result")


def report_readiness(config: RunConfig) -> None:
    """Print the report, ending in "ready". Raises UserError naming what is missing."""
    missing: list[str] = []
    model_config = _report_model(config.model, missing)
    longest_s = compute_window_s(model_config) if model_config else None
    intake = _attempt(lambda: _report_corpus(config, longest_s), missing)
    trained = sum(not t.is_decoy for t in intake.tracks) if intake else config.clips.targets
    clips = _attempt(lambda: _report_clips(config, longest_s, min(config.clips.targets, trained)), missing)
    _report_methods(config)
    _report_exemplars(config, missing)
    _report_output(config, missing)
    if model_config and intake and clips and not missing:
        _report_cost(config, model_config, intake, clips)
    for line in missing:
        print(f"missing: {line}")
    if missing:
        raise UserError(f"{len(missing)} {'thing is' if len(missing) == 1 else 'things are'} missing, see above")
    print("ready")


def _attempt(step: Callable[[], Result], missing: list[str]) -> Result | None:
    """The step's result; None where it raises UserError, whose message joins `missing`."""
    try:
        return step()
    except UserError as error:
        missing.append(str(error))
        return None


def _report_model(section: ModelSection, missing: list[str]) -> dict[str, Any] | None:
    """Print where the model's files are: here, to be fetched, or missing; its config, None where that is missing."""
    label = section.name or section.config
    print(f"model: {label}")
    if section.name:
        repo = _attempt(lambda: hub.find_repository(section.name), missing)
        if repo is None:
            return None
        absent = [
            names[0] for names in (("model_config.json",), hub.CHECKPOINTS) if hub.find_cached(repo, names) is None
        ]
        if absent and not hub.is_reachable():
            _attempt(partial(hub.require_network, repo, absent[0]), missing)
            return None
        if absent:
            print(
                f"  {' and '.join(absent)} will be fetched from {repo} (gigabytes; its licence must be accepted there)"
            )
        config = _attempt(lambda: read_model_config(hub.find_config_file(section)), missing)
    else:
        config = _attempt(lambda: read_model_config(Path(section.config)), missing)
        if not Path(section.checkpoint).is_file():
            missing.append(f"{section.checkpoint}: not found; [model] checkpoint must name a file of weights")
    if config is None:
        return None
    diffusion = config["model"].get("diffusion", {})
    channels = "stereo" if int(config.get("audio_channels", 2)) == 2 else "mono"
    objective = diffusion.get("diffusion_objective", "v")
    window_s = compute_window_s(config)
    print(f"  hears {window_s:.1f} s at once, {config['sample_rate']} Hz {channels}; objective {objective}")
    for repo in hub.list_missing_encoders(config):
        if hub.is_reachable():
            print(f"  its text encoder {repo} will be fetched from the hub")
        else:
            missing.append(f"{repo}: the model's text encoder is not on this machine and the hub does not answer")
    conditioners = {c.get("id") for c in config["model"].get("conditioning", {}).get("configs", [])}
    if "prompt" in diffusion.get("cross_attention_cond_ids", []) and "prompt" not in conditioners:
        absent = [name for name in CLAP_FILES if not (Path(section.clap) / name).is_file()]
        if not section.clap or absent:
            where = section.clap or "[model] clap"
            missing.append(
                f"{where}: this model takes its prompt as a CLAP embedding; clap must name a ClapModel folder"
            )
    return config


def _report_corpus(config: RunConfig, longest_s: float | None) -> Intake:
    """Print what the corpus gives and what is set aside; the intake. Raises UserError where nothing is left."""
    intake = take_in(config, longest_s if longest_s is not None else float("inf"))
    place = config.corpus.manifest or config.corpus.folder
    print(f"corpus: {len(intake.files)} files of {place}, {len(intake.set_aside)} set aside")
    by_id = {t.track_id: t for t in intake.files}
    for track_id, reason in intake.set_aside.items():
        print(f"  set aside: {by_id[track_id].path}: {reason}")
    if longest_s is not None:
        for line in summarise(intake, longest_s):
            print(f"  {line}")
    decoys = sum(t.is_decoy for t in intake.tracks)
    seconds = format_duration(sum(t.duration_s for t in intake.tracks))
    print(f"  {len(intake.tracks) - decoys} training tracks and {decoys} decoys, {seconds} of sound")
    if intake.to_write:
        print(f"  {len(intake.to_write)} of them are written as FLAC, into {Path(config.output.clips) / 'tracks'}")
    if not decoys:
        print("  without decoys no score can be told from noise: a manifest may name some")
    named = sum(bool(t.holders) or UNKNOWN not in (t.composer, t.rights_holder) for t in intake.tracks)
    print(f"  rights holders are named for {named}, an ISRC for {sum(bool(t.isrc) for t in intake.tracks)}")
    return intake


def _report_clips(config: RunConfig, longest_s: float | None, targets: int) -> tuple[int, list[OwnClip]]:
    """Print the clips that are generated, heard and unlearned; number of prompts, and own clips. Raises UserError."""
    prompts = 0
    if config.clips.prompts:
        prompts = _count_prompts(Path(config.clips.prompts))
    own, bad = find_own_clips(config.clips.audio)
    print(
        f"clips: {prompts} to generate, {len(own)} of your own; "
        f"{targets} training tracks are unlearned themselves, {config.clips.cohort} clips make the cohort"
    )
    for name, reason in bad.items():
        print(f"  set aside: {name}: {reason}")
    for clip in own:
        if longest_s is not None and clip.seconds > SLACK * longest_s:
            print(f"  {clip.path}: {clip.seconds:.1f} s long, its first {longest_s:.1f} s are used")
    return prompts, own


def _count_prompts(path: Path) -> int:
    """Number of prompts in a CSV file. Raises UserError where it or a column is missing."""
    if not path.is_file():
        raise UserError(
            f"{path}: no prompts here; [clips] prompts must name a CSV file (clip_id, prompt, seconds, seed)"
        )
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        absent = {"clip_id", "prompt", "seconds", "seed"} - set(reader.fieldnames or [])
        if absent:
            raise UserError(f"{path}: column {sorted(absent)[0]!r} is missing from the header")
        return sum(1 for _ in reader)


def _report_methods(config: RunConfig) -> None:
    """Print what each method needs."""
    from precompute.methods.catalogue import find_class

    print("methods:")
    for name in config.methods.run:
        print(f"  {name}: needs {find_class(name).needs}")


def _report_exemplars(config: RunConfig, missing: list[str]) -> None:
    """Print the pass of the tuned model, where there is one; its update joins `missing` where it is not there."""
    section = config.exemplars
    if not section.update:
        return
    if not Path(section.update).is_file():
        missing.append(f"{section.update}: not found; [exemplars] update must name a file that train-exemplars made")
        return
    print(
        f"exemplars: clips of the model tuned by {section.update}, {section.clips} of each;"
        f" {section.cohort} clips make their cohort"
    )


def _report_output(config: RunConfig, missing: list[str]) -> None:
    """Print where results go; folders that cannot be written to join `missing`."""
    store = Path(config.output.store)
    replaced = ", in place of the one that is there" if store.exists() else ""
    print(f"output: {store}{replaced}; clips in {config.output.clips}, caches in {config.output.work}")
    for name in (str(store.parent), config.output.clips, config.output.work):
        place = _find_existing_parent(Path(name))
        if not os.access(place, os.W_OK):
            missing.append(f"{place}: cannot be written to; see [output]")


def _find_existing_parent(path: Path) -> Path:
    """The path itself or its closest parent that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _report_cost(
    config: RunConfig, model_config: dict[str, Any], intake: Intake, clips: tuple[int, list[OwnClip]]
) -> None:
    """Print the estimates of time, disk and memory; `clips`: number of prompts, and own clips."""
    checkpoint: Path | None = Path(config.model.checkpoint)
    if config.model.name:
        checkpoint = hub.find_cached(hub.find_repository(config.model.name), hub.CHECKPOINTS)
    counts = _count_parameters(config, checkpoint)
    if counts is None:
        print("time and disk: not estimated, since the checkpoint is no .safetensors file or not here yet")
        return
    parameters, stepped = counts
    ratio = int(model_config["model"]["pretransform"]["config"]["downsampling_ratio"])
    frames = int(model_config["sample_size"]) // ratio
    trained = sum(not t.is_decoy for t in intake.tracks)
    network = model_config["model"]["diffusion"]["config"]
    size = RunSize(
        transformer=TransformerSize(
            parameters=parameters,
            width=int(network.get("embed_dim", 0)),
            depth=int(network.get("depth", 0)),
            channels=int(model_config["model"]["io_channels"]),
        ),
        stepped=stepped,
        frames=frames,
        window_frames=max(1, round(config.unlearning.window_s * int(model_config["sample_rate"]) / ratio)),
        shown=clips[0] + len(clips[1]),
        targets=min(config.clips.targets, trained),
        tracks=len(intake.tracks),
        trained=trained,
    )
    import torch

    from precompute.cost.measurement import measure_matmul_tflops

    matmul_tflops = measure_matmul_tflops(torch.device(config.model.device), torch.float32, 1024)
    seconds = estimate_seconds(config, size, matmul_tflops)
    if config.exemplars.update:
        from precompute.exemplars.files import count_exemplars

        tuned = replace(size, shown=count_exemplars(Path(config.exemplars.update)) * config.exemplars.clips, targets=0)
        seconds += estimate_seconds(config.exemplars.reduce(config), tuned, matmul_tflops)
    shapes = {t.path: intake.shapes[t.track_id] for t in intake.files if t.track_id in intake.shapes}
    to_write = [(t, shapes[t.original].sample_rate, shapes[t.original].channels) for t in intake.to_write]
    free = shutil.disk_usage(_find_existing_parent(Path(config.output.work))).free
    print(
        f"time: about {format_duration(seconds)} on {config.model.device} as busy as it is now,"
        " the autoencoder not counted"
    )
    print(
        f"disk: about {_format_bytes(estimate_disk_bytes(config, size, to_write))}, {_format_bytes(free)} free; "
        f"memory: {_format_bytes(estimate_memory_bytes(config, size))} for directions beside the model"
    )


def _count_parameters(config: RunConfig, checkpoint: Path | None) -> tuple[int, int] | None:
    """Parameters of the transformer, and of the chosen layers."""
    counts = read_parameter_counts(checkpoint) if checkpoint is not None else {}
    layers = {name: count for name, count in counts.items() if ".transformer.layers." in name}
    chosen = sum(count for name, count in layers.items() if LAYERS[config.unlearning.layers] in name)
    return (sum(layers.values()), chosen) if layers else None


def _format_bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
