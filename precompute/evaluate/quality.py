"""Do the model's clips sound like the corpus? Measured beside decoys: real recordings that it never heard.

All sounds go one way, through the autoencoder: training tracks, decoys and clips are decoded from latents, cut to
their length and measured as loud as they are. So clips and decoys differ by the diffusion model alone. What the
autoencoder loses is measured for itself, on original audio: `codec` holds other training tracks' originals against the
reference, `originals` the same originals against the reference's originals (what two parts of one corpus differ by);
`tracks` are those other tracks, decoded. One clip is generated under each decoy's caption and length. Reference, other
tracks, decoys and clips are sets of one size, since a Fréchet distance depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from precompute.cache import progress
from precompute.config import SAMPLERS, RunConfig
from precompute.corpus import read_audio
from precompute.evaluate.codec import codec_rows
from precompute.evaluate.features import (
    Features,
    Material,
    features_of_audio,
    features_of_latents,
    generated,
    load_material,
    spread,
)
from precompute.evaluate.measures import SPACES, Row, adherence, by_collection, distances, nearest, over_collections
from precompute.evaluate.result import write_result
from precompute.model import Model
from precompute.stages import load_model

GUIDANCES = (1.0, 2.0, 3.0, 4.0, 6.0)
STEPS = (25, 50, 100)
CODEC_TRACKS, ALONG_TRAINING = 32, 48  # decoys that measure the autoencoder; clips of each kept checkpoint
SETS = {  # row of the table of distances -> what it says
    "clips": "generated clips",
    "decoys": "decoys (never heard)",
    "tracks": "other training tracks",
    "codec": "… as recorded, to the decoded reference",
    "originals": "… as recorded, to the reference as recorded",
}


def quality(config: RunConfig, out: Path, count: int = 160) -> None:
    """Measure clips under `count` decoys' captions, print the tables, and write them to `out` as JSON.

    Fewer where the corpus has fewer decoys, or fewer than twice as many regular training tracks. Deterministic for a
    model and corpus. Raises UserError where the corpus or the model lacks what this needs.
    """
    material = load_material(config, count)
    model, cache = material.model, material.cache
    trained = features_of_latents(model, material.trained_items, cache, "training tracks")
    decoys = features_of_latents(model, material.decoy_items, cache, "decoys")
    clips = features_of_latents(model, generated(model, material.prompts(), config.clips, cache)[0], cache, "clips")
    reference, others = trained[material.reference], trained[material.others]

    sets = {"clips": clips, "decoys": decoys, "tracks": others}
    originals = _originals(material)
    if originals:
        sets["codec"] = originals[1]
    rows = [row for space in SPACES for row in distances(space, reference, sets)]
    if originals:
        rows += [row for space in SPACES for row in distances(space, originals[0], {"originals": originals[1]})]
    rows += [row for space in SPACES for row in nearest(space, trained, decoys, clips)]
    rows += _adherence(material, trained, decoys, clips)
    trained_in = [track.collection for track in material.trained]
    table = by_collection(trained, trained_in, decoys, clips, [track.collection for track in material.decoys])
    rows += over_collections(table)
    rows += _codec(material)
    training = _along_training(config, material, trained, decoys)

    n = len(material.decoys)
    print(f"\n{n} clips, {config.clips.steps} steps, guidance {config.clips.guidance:g}; 95 % intervals in brackets")
    print("\n".join([*_distance_lines(rows), *_adherence_lines(rows), *_collection_lines(table, rows)]))
    print("\n".join([*_codec_lines(rows), *_training_lines(training)]))
    what = f"{n} clips under decoys' captions beside {n} decoys, both against {n} of {len(material.trained)} tracks"
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


def _codec(material: Material) -> list[Row]:
    """The autoencoder by itself, on the decoys that are at hand as recorded."""
    paths = [track.path for track in material.decoys if track.path is not None][:CODEC_TRACKS]
    if not paths:
        print("no decoy has audio here: what the autoencoder loses is not measured")
        return []
    model = material.model
    waves = [read_audio(path, model.sample_rate, model.channels) for path in progress("autoencoder", paths)]
    return codec_rows(model, waves)


def _along_training(config: RunConfig, material: Material, trained: Features, decoys: Features) -> list[dict[str, Any]]:
    """Distances and nearness of the clips of each kept checkpoint, the shipped weights last; fewer clips each.

    The autoencoder is the same along training, so tracks and decoys are.
    """
    folder = Path(config.diagnostics.checkpoints)
    paths = sorted(folder.glob("step-*/model.safetensors")) if config.diagnostics.checkpoints else []
    steps = {int(path.parent.name.removeprefix("step-")): path for path in paths}
    steps.pop(config.diagnostics.final_step, None)
    chosen = spread(material.decoys, min(ALONG_TRAINING, len(material.decoys)))
    prompts = [material.prompts()[row] for row in chosen]
    reference = trained[[material.reference[row] for row in spread(material.decoys, len(chosen))]]
    found = []
    for step, path in [*sorted(steps.items()), (config.diagnostics.final_step, None)]:
        model = material.model if path is None else load_model(config, path)
        clip_items, _ = generated(model, prompts, config.clips, material.cache)
        clips = features_of_latents(model, clip_items, material.cache, f"clips at step {step}")
        rows = []
        for space in SPACES:
            rows += distances(space, reference, {"clips": clips, "decoys": decoys[chosen]})
            rows += nearest(space, trained, decoys[chosen], clips)
        found.append({"step": step, "measures": [vars(row) for row in rows]})
    return found


def sweep(config: RunConfig, out: Path, count: int = 48) -> None:
    """Distances and adherence over guidance and sampler steps, with the seconds a clip takes; prints, writes JSON.

    Guidance 1, 2, 3, 4, 6 at the config's steps; 25, 50, 100 steps at the config's guidance, by either sampler.
    Deterministic but for the seconds. Raises UserError as `quality` does.
    """
    material = load_material(config, count)
    model, cache = material.model, material.cache
    trained = features_of_latents(model, material.trained_items, cache, "training tracks")
    decoys = features_of_latents(model, material.decoy_items, cache, "decoys")
    chosen = [replace(config.clips, guidance=guidance) for guidance in GUIDANCES]
    chosen += [replace(config.clips, steps=steps, sampler=sampler) for sampler in SAMPLERS for steps in STEPS]
    table = []
    for settings in dict.fromkeys(chosen):  # the config's own setting can stand in both lists
        clip_items, seconds = generated(model, material.prompts(), settings, cache)
        clips = features_of_latents(model, clip_items, cache, "clips")
        sets = {"clips": clips, "decoys": decoys}
        rows = [row for space in SPACES for row in distances(space, trained[material.reference], sets)]
        rows += _adherence(material, trained, decoys, clips)
        line = {name: getattr(settings, name) for name in ("guidance", "steps", "sampler")}
        line["seconds_a_clip"] = seconds
        table.append({**line, "measures": [vars(row) for row in rows]})
    n = len(material.decoys)
    print("\n".join(["", f"{n} clips a setting; 95 % intervals in brackets", *_sweep_lines(table)]))
    what = f"guidance and steps of the sampler: {n} clips a setting beside {n} decoys, against {n} training tracks"
    _write(out, "sweep", what, model, table)


def _originals(material: Material) -> tuple[Features, Features] | None:
    """Features of reference and other tracks as recorded; None where one of them has latents alone."""
    halves = [[material.trained[row] for row in rows] for rows in (material.reference, material.others)]
    if any(track.path is None for half in halves for track in half):
        print("some training tracks have no audio here: the autoencoder is not measured for itself")
        return None
    reference, others = (
        features_of_audio(material.model, half, material.cache, "training tracks' own audio") for half in halves
    )
    return reference, others


def _adherence(material: Material, trained: Features, decoys: Features, clips: Features) -> list[Row]:
    labels = [track.instrument for track in material.trained]
    return adherence(trained, labels, decoys, clips, [track.instrument for track in material.decoys])


def _write(out: Path, command: str, what: str, model: Model, rows: list[dict[str, Any]], **more: Any) -> None:
    command = f"python -m precompute evaluate {command}"
    write_result(out, what, command, str(model.device), rows, model_sha256=model.sha256, **more)
    print(f"\nwritten: {out}")


# -- tables ------------------------------------------------------------------------------------------------------------


def _shown(rows: list[Row], measure: str, of: str, space: str = "", form: str = ".2f") -> str:
    """'1.23 [1.10, 1.40]', or '–' where it was not measured."""
    for row in rows:
        if (row.measure, row.of, row.space) == (measure, of, space):
            return f"{row.value:{form}} [{row.low:{form}}, {row.high:{form}}]"
    return "–"


def _lines(head: tuple[str, ...], body: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in plain text, under an empty line: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    return [
        "",
        *(
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in (head, *body)
        ),
    ]


def _distance_lines(rows: list[Row]) -> list[str]:
    measured = [of for of in SETS if any((row.measure, row.of) == ("frechet", of) for row in rows)]
    lines = []
    for measure, title in (("frechet", "Fréchet distance to the reference"), ("kernel", "kernel distance")):
        form = ".2f" if measure == "frechet" else ".3f"
        body = [(SETS[of], *(_shown(rows, measure, of, space, form) for space in SPACES)) for of in measured]
        extra = [("frechet_ratio", "clips / decoys")]
        if measure == "kernel":
            extra = [("kernel_difference", "clips - decoys"), ("kernel_ratio", "clips / decoys")]
        body += [(text, *(_shown(rows, name, "clips", space, form) for space in SPACES)) for name, text in extra]
        lines += _lines((title, "CLAP", "descriptors"), body)
    lines.append("(The decoys' kernel distance has expectation near 0: – where a ratio to it would mean nothing.)")
    body = [(f"{of}, median", *(_shown(rows, "nearest", of, space) for space in SPACES)) for of in ("clips", "decoys")]
    near = (_shown(rows, "near_share", "clips", space, ".0%") for space in SPACES)
    body.append(("clips nearer than the nearest 5 % of decoys", *near))
    return lines + _lines(("distance to the nearest training track", "CLAP", "descriptors"), body)


def _adherence_lines(rows: list[Row]) -> list[str]:
    chance = next((row.value for row in rows if row.measure == "chance"), None)
    if chance is None:
        return ["", "instrument: too few training tracks of two instruments, not measured"]
    body = [
        (of, _shown(rows, "accuracy", of, form=".0%"), _shown(rows, "times_chance", of, form=".1f"))
        for of in ("decoys", "clips")
    ]
    return _lines(("instrument of the caption, by a classifier", "heard", f"times chance ({chance:.1%})"), body)


def _collection_lines(table: list[dict[str, Any]], rows: list[Row]) -> list[str]:
    names = ("tracks", "decoys", "clips")
    body = [
        (
            line["collection"],
            f"{line['count']['clips']}",
            *(f"{line['onset_rate'][name]:.2f}" for name in names),
            *(f"{line['pitch_distance'][name]:.2f}" for name in names[1:]),
        )
        for line in table
    ]
    head = ("onsets a second; pitch classes' distance to tracks'", "clips", *names, "pitch: decoys", "pitch: clips")
    lines = _lines(head, body)
    means = (("onset_rate", "mean onset rate", names), ("onset_deviation", "its deviation from tracks'", names[1:]))
    body = [
        (text, *(_shown(rows, measure, name) if name in of else "" for name in names))
        for measure, text, of in (*means, ("pitch_distance", "pitch classes' distance", names[1:]))
    ]
    return lines + _lines(("mean over collections", *names), body)


def _codec_lines(rows: list[Row]) -> list[str]:
    names = ("si_sdr_db", "low_pass_db", "snr_db", "stft_distance", "onset_blur_db", "nudge_db", "band_error_db")
    names += ("silence_db", "latent_mean", "latent_deviation_least", "latent_deviation_most")
    body = [
        (f"{row.measure} {'' if row.of == 'decoys' else row.of}".strip(), _shown(rows, row.measure, row.of))
        for name in names
        for row in rows
        if row.measure == name
    ]
    return _lines(("autoencoder, on decoys as recorded", "mean"), body) if body else []


def _training_lines(table: list[dict[str, Any]]) -> list[str]:
    body = []
    for line in table:
        rows = [Row(**row) for row in line["measures"]]
        cells = [_shown(rows, "frechet_ratio", "clips", space) for space in SPACES]
        cells += [_shown(rows, "nearest", of, "descriptors") for of in ("clips", "decoys")]
        cells += [_shown(rows, "near_share", "clips", space, ".0%") for space in SPACES]
        body.append((f"{line['step']}", *cells))
    head = ("training step", *(f"Fréchet, clips / decoys, {space}" for space in SPACES))
    head += ("nearest track: clips", "decoys", *(f"clips nearer than 5 % of decoys, {space}" for space in SPACES))
    return _lines(head, body)


def _sweep_lines(table: list[dict[str, Any]]) -> list[str]:
    body = []
    for line in table:
        rows = [Row(**row) for row in line["measures"]]
        body.append(
            (
                f"{line['guidance']:g}",
                f"{line['steps']}",
                line["sampler"],
                f"{line['seconds_a_clip']:.2f}",
                *(_shown(rows, "frechet_ratio", "clips", space) for space in SPACES),
                *(_shown(rows, "kernel_difference", "clips", space, ".3f") for space in SPACES),
                _shown(rows, "accuracy", "clips", form=".0%"),
            )
        )
    space_heads = (
        f"{text}, {space}" for text in ("Fréchet, clips / decoys", "kernel, clips - decoys") for space in SPACES
    )
    return _lines(("guidance", "steps", "sampler", "s a clip", *space_heads, "instrument heard"), body)
