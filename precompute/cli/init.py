"""`init`: a folder of music -> a commented config, and prompts to begin with. Nothing that is there is overwritten."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from precompute.common.files import write_atomically
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig
from precompute.corpus.audio import SUFFIXES
from precompute.errors import UserError

MANIFESTS = ("manifest.csv", "manifest.parquet")
EXAMPLES = 3  # prompts
EXAMPLE_S = 10.0  # their length; a model that hears less makes less

TEMPLATE = """\
# Whose music is in these clips? Written by `python -m precompute init`; change what you like, then:
#   python -m precompute check --config {out}   what will run, what is missing, how long it takes
#   python -m precompute run --config {out}     stop it and start it again as you like
#   python -m explorer --store {store}          listen
# Paths are relative to the folder that the commands run in.

[corpus]
# The music that the model was trained on. A folder: every sound below it is a training track, its file name the
# caption, its tags give title and rights holders. A manifest (CSV or Parquet, columns as in data/demo/manifest.csv;
# also holders, isrc, iswc) brings captions, licences and decoys: without decoys nothing can be told from noise.
{corpus}
windows = 4             # a file longer than the model hears becomes at most so many tracks, spread over it
# decoys = 0            # how many decoys to score, 0 = all

[model]
# The model that was trained on this music: scores tell how that very model reacts. Either a published one by name
# ("stable-audio-open-1.0", "stable-audio-open-small", "owner/name" of the Hugging Face hub) ...
{name}
# ... or files of stable-audio-tools: its JSON config, and weights as .safetensors or .ckpt (read as weights alone).
{local}
# A folder of a transformers ClapModel, where the model takes its prompt as a CLAP embedding of ours:
{clap}
device = "cpu"          # or "cuda"

[clips]
# What is asked about. Clips to generate (CSV with columns clip_id, prompt, seconds, seed), sounds of your own (a file
# or a folder; each as far as the model hears, from its beginning), or both.
{prompts}
{audio}
steps = 50              # of the sampler
guidance = 4.0
# sampler = "ddim"      # or "dpmpp-2m"
targets = 16            # training tracks that are unlearned themselves: each should find itself
cohort = 48             # further clips, not shown, that say what is usual for a track; fewer are quicker and less sure

[methods]
# `python -m precompute methods` lists them all. Those of gradients share one pass over the tracks, so a second costs
# little, and the page compares any two; one that cannot run is left out with its reason. For instance:
# run = ["unlearning", "unlearning-gram", "influence", "dtrak", "lpips", "clap", "ensemble"]
run = ["unlearning"]

[fisher]
draws = 4               # per track: how sharply the loss reacts to each weight
# tracks = 0            # how many tracks to average over, 0 = all

[bank]
# Noise under which every track is scored: replicates x strata passes a track. More give smaller errors.
replicates = 4
strata = 4
# t_low = 0.0           # least noise level; 0.5 = the noisier half, which finds more in the demo

[unlearning]
layers = "all"          # to_kv, cross_attn, self_attn or all: fewer layers take less memory
mask = "mixed"
ascent_draws = 32       # of a clip's gradient
window_s = 1.0          # of a clip, for "what does this second draw on?"

[moments]
tracks = 10             # best tracks of a clip whose influence is followed over time

[output]
store = {store_text}
clips = {clips_text}    # generated clips; below it tracks/, for windows of long files and formats no browser plays
work = {work_text}      # may be deleted at any time: a run then begins anew
note = ""               # shown on the page beside the scores
"""


def begin(
    folder: Path,
    out: Path,
    results: Path,
    name: str = "",
    model_config: str = "",
    checkpoint: str = "",
    clap: str = "",
    prompts: str = "",
    audio: str = "",
) -> None:
    """Write `out` and, where neither prompts nor audio are named, prompts beside it. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; init takes the folder that holds the training music")
    manifest = next((folder / m for m in MANIFESTS if (folder / m).is_file()), None)
    sounds = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not sounds and manifest is None:
        raise UserError(f"{folder}: no audio in it ({', '.join(sorted(SUFFIXES))})")
    if out.exists():
        raise UserError(f"{out}: is there already; remove it, or name another by --out")
    if bool(model_config) != bool(checkpoint):
        raise UserError("--model-config and --checkpoint belong together: a JSON config and its weights")
    if name and model_config:
        raise UserError("--name and --model-config exclude each other")
    if not (prompts or audio):
        prompts = str(_example_prompts(out.with_name("prompts.csv"), sounds or [folder]))
    named = name or ("" if model_config else "stable-audio-open-1.0")
    text = TEMPLATE.format(
        out=out,
        store=results / "whence.duckdb",
        corpus=_field("manifest", str(manifest)) if manifest else _field("folder", str(folder)),
        name=_field("name", named) if named else '# name = "stable-audio-open-1.0"',
        local=f"{_field('config', model_config)}\n{_field('checkpoint', checkpoint)}"
        if model_config
        else '# config = "my_model.json"\n# checkpoint = "my_model.safetensors"',
        clap=_field("clap", clap) if clap else '# clap = "my_clap"',
        prompts=_field("prompts", prompts) if prompts else '# prompts = "prompts.csv"',
        audio=_field("audio", audio) if audio else '# audio = "my_clips"',
        store_text=_quoted(str(results / "whence.duckdb")),
        clips_text=_quoted(str(results / "generated")),
        work_text=_quoted(str(results / "work" / "own")),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    RunConfig.load(out)  # what is written is read by the rules of every config
    print(f"{out}: written, for {manifest or f'{len(sounds)} sounds in {folder}'}")
    print(f"next: python -m precompute check --config {out}")


def _field(name: str, value: str) -> str:
    return f"{name} = {_quoted(value)}"


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)


def _example_prompts(path: Path, sounds: list[Path]) -> Path:
    """A CSV of prompts made of file names, for the user to change; one that is there is left alone."""
    if path.exists():
        return path
    count = min(EXAMPLES, len(sounds))
    chosen = [sounds[k].stem.replace("_", " ").replace("-", " ") for k in spread_evenly(len(sounds), count)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("clip_id", "prompt", "seconds", "seed"))
    writer.writerows((number, caption, EXAMPLE_S, number) for number, caption in enumerate(chosen, start=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue())
    print(f"{path}: example prompts, made of file names; put your own there")
    return path
