"""The verb `init`: a folder of music -> a commented config and example prompts. It never overwrites a file."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from precompute.common.files import write_atomically
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig
from precompute.corpus.audio import SUFFIXES
from precompute.errors import UserError

MANIFESTS = ("manifest.csv", "manifest.parquet")
EXAMPLES = 3  # prompts
EXAMPLE_S = 10.0  # seconds of each; a model with a shorter window makes less

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
# little, and the page compares any two; those that cannot run are skipped; the store records why. For instance:
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


@dataclass(frozen=True)
class InitOptions:
    """The arguments of `init`; an empty text = not given."""

    folder: Path  # the training music
    out: Path  # the config to write
    results: Path  # folder for store, clips and caches
    name: str = ""  # of a published model
    model_config: str = ""  # JSON of a local model
    checkpoint: str = ""  # its weights
    clap: str = ""  # folder of a ClapModel
    prompts: str = ""  # CSV of clips to generate
    audio: str = ""  # clips of the user's own


def write_config(options: InitOptions) -> None:
    """Write `options.out` and, where neither prompts nor audio are given, prompts beside it.

    Raises UserError where the folder holds no music, the config exists, or options contradict each other.
    """
    folder, out = options.folder, options.out
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; init takes the folder that holds the training music")
    manifest = next((folder / m for m in MANIFESTS if (folder / m).is_file()), None)
    sounds = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not sounds and manifest is None:
        raise UserError(f"{folder}: no audio in it ({', '.join(sorted(SUFFIXES))})")
    if out.exists():
        raise UserError(f"{out}: is there already; remove it, or name another by --out")
    if bool(options.model_config) != bool(options.checkpoint):
        raise UserError("--model-config and --checkpoint belong together: a JSON config and its weights")
    if options.name and options.model_config:
        raise UserError("--name and --model-config exclude each other")
    prompts = options.prompts
    if not (prompts or options.audio):
        prompts = str(_write_example_prompts(out.with_name("prompts.csv"), sounds or [folder]))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, _fill_template(options, manifest, prompts))
    RunConfig.load(out)  # what is written is read by the rules of every config
    print(f"{out}: written, for {manifest or f'{len(sounds)} sounds in {folder}'}")
    print(f"next: python -m precompute check --config {out}")


def _fill_template(options: InitOptions, manifest: Path | None, prompts: str) -> str:
    """The config as text; fields that are not given stand in comments."""
    name = options.name or ("" if options.model_config else "stable-audio-open-1.0")
    local = '# config = "my_model.json"\n# checkpoint = "my_model.safetensors"'
    if options.model_config:
        local = f"{_format_field('config', options.model_config)}\n{_format_field('checkpoint', options.checkpoint)}"
    store = options.results / "whence.duckdb"
    return TEMPLATE.format(
        out=options.out,
        store=store,
        corpus=_format_field("manifest", str(manifest)) if manifest else _format_field("folder", str(options.folder)),
        name=_format_field("name", name) if name else '# name = "stable-audio-open-1.0"',
        local=local,
        clap=_format_field("clap", options.clap) if options.clap else '# clap = "my_clap"',
        prompts=_format_field("prompts", prompts) if prompts else '# prompts = "prompts.csv"',
        audio=_format_field("audio", options.audio) if options.audio else '# audio = "my_clips"',
        store_text=_quote(str(store)),
        clips_text=_quote(str(options.results / "generated")),
        work_text=_quote(str(options.results / "work" / "own")),
    )


def _format_field(name: str, value: str) -> str:
    return f"{name} = {_quote(value)}"


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)


def _write_example_prompts(path: Path, sounds: list[Path]) -> Path:
    """Write prompts made of file names, for the user to change; an existing file is left alone. The file's path."""
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
