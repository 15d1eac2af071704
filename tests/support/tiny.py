"""The public fixture: 16 training tracks, 16 decoys, a model of under 0.3 million parameters, all made on the spot."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 8000  # hertz
LONGEST = 16_000  # samples: two seconds

MODEL = {
    "model_type": "diffusion_cond",
    "sample_size": LONGEST,
    "sample_rate": RATE,
    "audio_channels": 1,
    "model": {
        "pretransform": {
            "type": "autoencoder",
            "iterate_batch": False,
            "scale": 1.0,
            "config": {
                "encoder": {
                    "type": "oobleck",
                    "config": {"in_channels": 80, "channels": 16, "c_mults": [1], "strides": [4], "latent_dim": 8},
                },
                "decoder": {
                    "type": "oobleck",
                    "config": {
                        "out_channels": 80,
                        "channels": 16,
                        "c_mults": [1],
                        "strides": [4],
                        "latent_dim": 8,
                        "final_tanh": False,
                    },
                },
                "bottleneck": {"type": "tanh", "config": {"scale": 3.0}},
                "pretransform": {"type": "patched", "enable_grad": True, "config": {"channels": 1, "patch_size": 80}},
                "latent_dim": 8,
                "downsampling_ratio": 320,
                "io_channels": 1,
            },
        },
        "conditioning": {
            "configs": [{"id": "seconds_total", "type": "number", "config": {"min_val": 0, "max_val": 2}}],
            "cond_dim": 128,
        },
        "diffusion": {
            "cross_attention_cond_ids": ["prompt", "seconds_total"],
            "global_cond_ids": ["seconds_total"],
            "type": "dit",
            "diffusion_objective": "v",
            "config": {
                "io_channels": 8,
                "embed_dim": 64,  # rotary embedding needs heads of 32 or more
                "depth": 2,
                "num_heads": 2,
                "cond_token_dim": 128,
                "project_cond_tokens": True,
                "global_cond_dim": 128,
                "project_global_cond": True,
                "global_cond_type": "adaLN",
                "transformer_type": "continuous_transformer",
                "ff_kwargs": {"mult": 2},
            },
        },
        "io_channels": 8,
    },
}

TRAIN_TOML = """
manifest = "corpus/manifest.csv"
model_config = "model.json"
work = "train"
out = "model"
decoy_audio = "decoys"
seed = 0
[autoencoder]
steps = {steps}
learning_rate = 1e-3
save_every = 10
bf16 = false
[clap]
steps = {steps}
learning_rate = 1e-3
save_every = 10
bf16 = false
[diffusion]
steps = {steps}
learning_rate = 2e-3
save_every = 10
bf16 = false
keep_at = [10]
"""

COLUMNS = (
    "track_id work_id title composer collection rights_holder licence_composition licence_encoding licence_rendering"
    " licence_evidence source instrument caption split duration_s audition path planted matched_to"
).split()


def tone(pitch_hz: float, seconds: float, seed: int) -> np.ndarray:
    """A plucked chord on a pitch, [T] float32: notes begin and end."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = np.zeros_like(time)
    for onset in np.arange(0, seconds, 0.25 + 0.1 * (seed % 3)):
        since = np.clip(time - onset, 0, None)
        wave += (time >= onset) * np.exp(-5 * since) * np.sin(2 * np.pi * pitch_hz * rng.choice([1, 1.25, 1.5]) * since)
    return (0.3 * wave / np.abs(wave).max() + 0.001 * rng.standard_normal(len(wave))).astype(np.float32)


def write_corpus(folder: Path, trained: int = 16, decoys: int = 16) -> Path:
    """Audio and manifest.csv in `folder`; the path of the manifest. Decoys 9.. have no audio of their own."""
    (folder / "audio").mkdir(parents=True)
    (folder.parent / "decoys").mkdir(exist_ok=True)
    rows = []
    for number in range(1, trained + decoys + 1):
        is_decoy = number > trained
        kind = ("high", "low")[number % 2]
        seconds = 1.0 + 0.1 * (number % 10)
        shipped = not is_decoy or number <= trained + decoys // 2
        path = folder / "audio" / f"{number:04d}.wav" if shipped else folder.parent / "decoys" / f"{number:04d}.mp3"
        soundfile.write(path, tone((660 if kind == "high" else 165) * 2 ** (number % 7 / 12), seconds, number), RATE)
        rows.append(
            {
                **{column: "test" for column in COLUMNS},
                "track_id": number,
                "work_id": f"work-{number}",
                "title": f"Piece {number}",
                "collection": kind,
                "caption": f"a {kind} plucked chord, {'fast' if number % 3 else 'slow'}",
                "split": "decoy" if is_decoy else "train",
                "duration_s": f"{seconds:.3f}",
                "audition": "full" if shipped else "none",
                "path": f"audio/{number:04d}.wav" if shipped else "",
                "planted": "",
                "matched_to": number - trained if is_decoy else "",
            }
        )
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def make_model(root: Path, steps: int = 20) -> None:
    """Corpus in root/corpus, model trained for a few steps in root/model, by the same code as the demo's."""
    from precompute.train.demo import TrainDemoSettings, train_demo

    write_corpus(root / "corpus")
    (root / "model.json").write_text(json.dumps(MODEL))
    (root / "train.toml").write_text(TRAIN_TOML.format(steps=steps))
    train_demo(TrainDemoSettings.load(root / "train.toml", root))


PROMPTS = """clip_id,prompt,seconds,seed
1,"a high plucked chord, fast",1.5,1
2,"a low plucked chord, slow",1.5,2
3,"a high plucked chord, slow",1.9,3
"""

RUN_TOML = """
[corpus]
manifest = "{root}/corpus/manifest.csv"
latents = "{root}/model/decoy-latents.npz"
[model]
config = "{root}/model/model_config.json"
checkpoint = "{root}/model/model.safetensors"
clap = "{root}/model/clap"
[clips]
prompts = "{root}/prompts.csv"
steps = 4
targets = 4
cohort = 6
[unlearning]
ascent_draws = 4
window_s = 0.5
[fisher]
draws = 2
[moments]
tracks = 3
[diagnostics]
checkpoints = "{root}/train/checkpoints"
final_step = 20
[output]
store = "{out}/store.duckdb"
clips = "{out}/clips"
work = "{out}/work"
"""


def write_run(root: Path, out: Path, **changes: str) -> Path:
    """run.toml in `out` for the models in `root`; `changes` replace `field = value` lines by field name."""
    out.mkdir(parents=True, exist_ok=True)
    (root / "prompts.csv").write_text(PROMPTS)
    lines = RUN_TOML.format(root=root, out=out).splitlines()
    for name, value in changes.items():
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[place] = f"{name} = {value}"
    (out / "run.toml").write_text("\n".join(lines) + "\n")
    return out / "run.toml"


INDEX = '\n[index]\nfolder = "{folder}"\nwidth = {width}\nwidest = 4096\nshortlist = 8\n'


def write_index_run(root: Path, out: Path, folder: Path, width: int = 2048, **changes: str) -> Path:
    path = write_run(root, out, **changes)
    path.write_text(path.read_text() + INDEX.format(folder=folder, width=width))
    return path


def tables(store: Path) -> dict[str, list[tuple]]:
    """Every table of a store but `runs` (it holds the time of day), rows in stored order; measured costs left out."""
    import duckdb

    with duckdb.connect(str(store), read_only=True) as connection:
        names = [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
        columns = dict.fromkeys(names, "*") | {"methods": "* EXCLUDE (cost_s)"}
        return {n: connection.execute(f"SELECT {columns[n]} FROM {n}").fetchall() for n in names if n != "runs"}


def differentiate_track(model, track, section, bank):
    """Gradients of one track's loss, one row a cell of the bank: [R x S, P] float32; a plain loop."""
    import torch

    from precompute.gradients.flat_vectors import differentiate, scale_to_length_one
    from precompute.gradients.steps import count_scored_frames

    parameters = model.parameters(section.layers)
    frames, rows = count_scored_frames(section, int(track.valid_frames[0])), []
    for cell in bank.cells():
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        with torch.no_grad():
            condition = model.condition(track)
        rows.append(differentiate(model.loss(track.latents[0], condition, t, eps, frames), parameters).cpu())
    return scale_to_length_one(torch.stack(rows)) if section.normalise_timesteps else torch.stack(rows)


def scores_of_track(model, track, directions, section, bank):
    """Gradient products for one track: cells of the bank x directions [Q, P]."""
    from precompute.gradients.directions import multiply

    return multiply(differentiate_track(model, track, section, bank), directions)
