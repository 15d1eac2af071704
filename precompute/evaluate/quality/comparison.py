"""Do the model's clips sound like the corpus? Measured beside decoys: real recordings that it never heard.

All sounds go through the autoencoder: training tracks, decoys and clips are decoded from latents, cut to their length
and measured as loud as they are, so that clips and decoys differ by the diffusion model alone. What the autoencoder
loses is measured by itself, on original audio: `codec` holds other training tracks' originals against the
reference, `originals` the same originals against the reference's originals (what two parts of one corpus differ by);
`tracks` are those other tracks, decoded. One clip is generated under each decoy's caption and length. Reference, other
tracks, decoys and clips are sets of one size, since a Fréchet distance depends on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from precompute.common.progress import progress
from precompute.common.results import describe_hardware, write_result
from precompute.common.sequences import spread_evenly
from precompute.config.run import SAMPLERS, RunConfig
from precompute.corpus.audio import read_audio
from precompute.evaluate.quality.codec import measure_codec, measure_ringing
from precompute.evaluate.quality.features import (
    ComparedSets,
    Features,
    decode,
    extract_from_audio,
    extract_from_latents,
    generate_timed_clips,
    load_compared_sets,
    spread_over_collections,
)
from precompute.evaluate.quality.measures import (
    SPACES,
    Measurement,
    average_over_collections,
    describe_collections,
    measure_adherence,
    measure_distances,
    measure_nearness,
)
from precompute.evaluate.quality.tables import (
    format_adherence,
    format_codec,
    format_collections,
    format_distances,
    format_ringing,
    format_sweep,
    format_training,
)
from precompute.model.diffusion import Items, Model, load_model

GUIDANCES = (1.0, 2.0, 3.0, 4.0, 6.0)
STEPS = (25, 50, 100)
CODEC_TRACKS, ALONG_TRAINING = 32, 48  # decoys that measure the autoencoder; clips of each kept checkpoint


def evaluate_quality(config: RunConfig, out: Path, count: int = 160) -> None:
    """Measure clips under `count` decoys' captions, print the tables, and write them to `out` as JSON.

    Fewer where the corpus has fewer decoys, or fewer than twice as many regular training tracks. Deterministic for a
    model and corpus. Raises UserError where the corpus or the model lacks what this needs.
    """
    compared = load_compared_sets(config, count)
    model, cache = compared.model, compared.cache
    trained = extract_from_latents(model, compared.trained_items, cache, "training tracks")
    decoys = extract_from_latents(model, compared.decoy_items, cache, "decoys")
    clip_items, _ = generate_timed_clips(model, compared.make_prompts(), config.clips, cache)
    clips = extract_from_latents(model, clip_items, cache, "clips")
    reference, others = trained[compared.reference], trained[compared.others]

    sets = {"clips": clips, "decoys": decoys, "tracks": others}
    originals = _extract_originals(compared)
    if originals:
        sets["codec"] = originals[1]
    rows = [row for space in SPACES for row in measure_distances(space, reference, sets)]
    if originals:
        rows += [row for space in SPACES for row in measure_distances(space, originals[0], {"originals": originals[1]})]
    rows += [row for space in SPACES for row in measure_nearness(space, trained, decoys, clips)]
    rows += _measure_adherence(compared, trained, decoys, clips)
    trained_in = [track.collection for track in compared.trained]
    table = describe_collections(trained, trained_in, decoys, clips, [track.collection for track in compared.decoys])
    rows += average_over_collections(table)
    rows += _measure_autoencoder(compared, clip_items)
    training = _measure_along_training(config, compared, trained, decoys)

    n = len(compared.decoys)
    print(f"\n{n} clips, {config.clips.steps} steps, guidance {config.clips.guidance:g}; 95 % intervals in brackets")
    print("\n".join([*format_distances(rows), *format_adherence(rows), *format_collections(table, rows)]))
    print("\n".join([*format_codec(rows), *format_ringing(rows), *format_training(training)]))
    what = f"{n} clips under decoys' captions beside {n} decoys, both against {n} of {len(compared.trained)} tracks"
    settings = {name: getattr(config.clips, name) for name in ("sampler", "steps", "guidance")}
    _write(
        out,
        "quality",
        what,
        model,
        [vars(row) for row in rows],
        settings=settings,
        collections=table,
        training=training,
    )


def _measure_autoencoder(compared: ComparedSets, clips: Items) -> list[Measurement]:
    """The autoencoder by itself on decoys that are at hand as recorded, and its ringing, also in clips."""
    model = compared.model
    chosen = [clips[[row]] for row in spread_evenly(len(clips), CODEC_TRACKS)]
    sets = {"clips": [decode(model, clip.latents[0], float(clip.seconds[0])) for clip in chosen]}
    paths = [track.path for track in compared.decoys if track.path is not None][:CODEC_TRACKS]
    if not paths:
        print("no decoy has audio here: what the autoencoder loses is not measured")
        return measure_ringing(model, sets)
    waves = [read_audio(path, model.sample_rate, model.channels) for path in progress("autoencoder", paths)]
    waves = [wave[:, : model.sample_size] for wave in waves]
    rebuilt = [model.decode(model.encode(wave))[:, : wave.shape[-1]] for wave in waves]
    return measure_codec(model, waves) + measure_ringing(model, {"decoys": waves, "reconstructions": rebuilt, **sets})


def _measure_along_training(
    config: RunConfig, compared: ComparedSets, trained: Features, decoys: Features
) -> list[dict[str, Any]]:
    """Distances and nearness of the clips of each kept checkpoint, the shipped weights last; fewer clips each.

    The autoencoder stays as it is along training, and tracks and decoys with it.
    """
    folder = Path(config.diagnostics.checkpoints)
    paths = sorted(folder.glob("step-*/model.safetensors")) if config.diagnostics.checkpoints else []
    steps = {int(path.parent.name.removeprefix("step-")): path for path in paths}
    steps.pop(config.diagnostics.final_step, None)
    chosen = spread_over_collections(compared.decoys, min(ALONG_TRAINING, len(compared.decoys)))
    prompts = [compared.make_prompts()[row] for row in chosen]
    reference = trained[[compared.reference[row] for row in spread_over_collections(compared.decoys, len(chosen))]]
    table = []
    for step, path in [*sorted(steps.items()), (config.diagnostics.final_step, None)]:
        model = compared.model if path is None else load_model(config, path)
        clip_items, _ = generate_timed_clips(model, prompts, config.clips, compared.cache)
        clips = extract_from_latents(model, clip_items, compared.cache, f"clips at step {step}")
        rows = []
        for space in SPACES:
            rows += measure_distances(space, reference, {"clips": clips, "decoys": decoys[chosen]})
            rows += measure_nearness(space, trained, decoys[chosen], clips)
        table.append({"step": step, "measures": [vars(row) for row in rows]})
    return table


def evaluate_sampler(config: RunConfig, out: Path, count: int = 48) -> None:
    """Distances and adherence over guidance and sampler steps, with the seconds a clip takes; prints, writes JSON.

    Guidance 1, 2, 3, 4, 6 at the config's steps; 25, 50, 100 steps at the config's guidance, by either sampler.
    Deterministic but for the seconds. Raises UserError as `quality` does.
    """
    compared = load_compared_sets(config, count)
    model, cache = compared.model, compared.cache
    trained = extract_from_latents(model, compared.trained_items, cache, "training tracks")
    decoys = extract_from_latents(model, compared.decoy_items, cache, "decoys")
    chosen = [replace(config.clips, guidance=guidance) for guidance in GUIDANCES]
    chosen += [replace(config.clips, steps=steps, sampler=sampler) for sampler in SAMPLERS for steps in STEPS]
    table = []
    for settings in dict.fromkeys(chosen):  # the config's own setting can stand in both lists
        clip_items, seconds = generate_timed_clips(model, compared.make_prompts(), settings, cache)
        clips = extract_from_latents(model, clip_items, cache, "clips")
        sets = {"clips": clips, "decoys": decoys}
        rows = [row for space in SPACES for row in measure_distances(space, trained[compared.reference], sets)]
        rows += _measure_adherence(compared, trained, decoys, clips)
        line = {name: getattr(settings, name) for name in ("guidance", "steps", "sampler")}
        line["seconds_a_clip"] = seconds
        table.append({**line, "measures": [vars(row) for row in rows]})
    n = len(compared.decoys)
    print("\n".join(["", f"{n} clips a setting; 95 % intervals in brackets", *format_sweep(table)]))
    what = f"guidance and steps of the sampler: {n} clips a setting beside {n} decoys, against {n} training tracks"
    _write(out, "sweep", what, model, table)


def _extract_originals(compared: ComparedSets) -> tuple[Features, Features] | None:
    """Features of reference and other tracks as recorded; None where one of them has no audio here."""
    halves = [[compared.trained[row] for row in rows] for rows in (compared.reference, compared.others)]
    if any(track.path is None for half in halves for track in half):
        print("some training tracks have no audio here: the autoencoder is not measured for itself")
        return None
    reference, others = (
        extract_from_audio(compared.model, half, compared.cache, "training tracks' own audio") for half in halves
    )
    return reference, others


def _measure_adherence(
    compared: ComparedSets, trained: Features, decoys: Features, clips: Features
) -> list[Measurement]:
    labels = [track.instrument for track in compared.trained]
    return measure_adherence(trained, labels, decoys, clips, [track.instrument for track in compared.decoys])


def _write(out: Path, command: str, what: str, model: Model, rows: list[dict[str, Any]], **more: Any) -> None:
    command = f"python -m precompute evaluate {command}"
    write_result(out, what, command, describe_hardware(str(model.device)), rows, model_sha256=model.sha256, **more)
    print(f"\nwritten: {out}")
