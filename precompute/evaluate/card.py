"""The model card's tables, written between marks from the results that are kept: nobody copies a number by hand.

A mark is a line `<!-- NAME -->`; what stands between it and `<!-- /NAME -->` is replaced. No torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from precompute.errors import UserError
from precompute.files import write_whole

Row = dict[str, Any]
SPACES = (("clap", "CLAP"), ("descriptors", "descriptors"))


def write_card(card: Path, results: Path, measured: Path) -> None:
    """Rewrite the marked parts of `card` from `results`/demo-*.json and `measured` (model-card.json). Raises UserError.

    A table whose results are missing is left as it is, and said so.
    """
    if not card.is_file():
        raise UserError(f"{card}: no model card here")
    text = card.read_text(encoding="utf-8")
    for name, path, build in _parts(results, measured):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise UserError(f"{card}: has no part marked <!-- {name} --> ... <!-- /{name} -->")
        if not path.is_file():
            print(f"{path}: not here; the card's part {name!r} is left as it is")
            continue
        body = build(json.loads(path.read_text(encoding="utf-8")))
        text = pattern.sub(lambda found, body=body: f"{found[1]}\n{body}\n\n{found[2]}", text)
    write_whole(card, text.encode())


def _parts(results: Path, measured: Path) -> list[tuple[str, Path, Callable[[Any], str]]]:
    losses = json.loads(measured.read_text(encoding="utf-8"))["losses"] if measured.is_file() else []
    return [
        ("autoencoder", results / "demo-quality.json", autoencoder_table),
        ("learning", measured, learning_table),
        ("quality", results / "demo-quality.json", quality_table),
        ("training", results / "demo-quality.json", lambda kept: training_table(kept, losses)),
        ("sweep", results / "demo-sweep.json", sweep_table),
        ("planted", results / "demo-planted.json", planted_table),
        ("null", results / "demo-null.json", null_table),
        ("calibration", results / "demo-calibration.json", calibration_table),
    ]


# -- tables ------------------------------------------------------------------------------------------------------


def autoencoder_table(kept: Any) -> str:
    """What the autoencoder keeps, on decoys."""
    texts = (
        ("si_sdr_db", "SI-SDR, dB"),
        ("low_pass_db", "SI-SDR of a low-pass that needs as many numbers, dB"),
        ("snr_db", "SNR, dB"),
        ("stft_distance", "multi-resolution STFT distance"),
        ("band_error_db", "error of the spectrum's level, dB"),
        ("onset_blur_db", "error in the 50 ms of the steepest attack, dB relative to it"),
        ("nudge_db", "change by a nudge of 0.1 deviations in every latent, dB relative to the sound"),
        ("silence_db", "level of decoded silence, dBFS"),
        ("latent_mean", "largest mean of a latent channel"),
        ("latent_deviation_least", "least deviation of a latent channel"),
        ("latent_deviation_most", "greatest deviation of a latent channel"),
    )
    body = []
    for measure, text in texts:
        for row in kept["rows"]:
            if row["measure"] == measure:
                where = "" if row["of"] == "decoys" else f", {row['of']}"
                body.append((f"{text}{where}", _estimate(row, ".1f" if measure.endswith("_db") else ".2f")))
    return _markdown(("decoys as recorded, never heard", "mean [95 %]"), body)


def learning_table(kept: Any) -> str:
    """Reconstruction along the autoencoder's training."""
    body = [
        (f"{row['step']:,}", *(f"{row[kind][name]:.2f}" for name in NAMES for kind in ("train", "decoy")))
        for row in kept["reconstruction"]
    ]
    head = ("training step", *(f"{text}, {kind}" for text in NAMES.values() for kind in ("training tracks", "decoys")))
    return _markdown(head, body)


NAMES = {"si_sdr_db": "SI-SDR, dB", "stft_distance": "STFT distance"}


def quality_table(kept: Any) -> str:
    """Clips beside decoys, both against training tracks."""
    find = _finder(kept["rows"])
    body = []
    for measure, of, text, form in (
        ("frechet", "clips", "Fréchet distance, clips", ".2f"),
        ("frechet", "decoys", "Fréchet distance, decoys", ".2f"),
        ("frechet_ratio", "clips", "clips / decoys (wanted: at most 1.5)", ".2f"),
        ("kernel", "clips", "kernel distance, clips", ".3f"),
        ("kernel", "decoys", "kernel distance, decoys", ".3f"),
        ("nearest", "clips", "median distance to the nearest training track, clips", ".2f"),
        ("nearest", "decoys", "… decoys", ".2f"),
        ("near_share", "clips", "clips nearer than the nearest 5 % of decoys", ".0%"),
    ):
        body.append((text, *(find(measure, of, space, form) for space, _ in SPACES)))
    both = _markdown(("", *(title for _, title in SPACES)), body)
    body = []
    for measure, text, form in (
        ("accuracy", "instrument heard as asked for", ".0%"),
        ("times_chance", "… times chance (wanted: at least 5)", ".1f"),
        ("onset_deviation", "onset rate: mean deviation from the collection's tracks, per second", ".2f"),
        ("pitch_distance", "pitch classes: distance from the collection's tracks (0 to 1)", ".2f"),
    ):
        body.append((text, *(find(measure, of, "", form) for of in ("decoys", "clips"))))
    return both + "\n\n" + _markdown(("", "decoys", "clips"), body)


def training_table(kept: Any, losses: Sequence[Row]) -> str:
    """Losses, distances and nearness along training."""
    loss = {row["step"]: row for row in losses}
    body = []
    for line in kept["training"]:
        find, own = _finder(line["measures"]), loss.get(line["step"], {})
        body.append(
            (
                f"{line['step']:,}",
                *(f"{own[kind]:.3f}" if kind in own else "–" for kind in ("train", "decoy")),
                *(find("frechet_ratio", "clips", space, ".2f") for space, _ in SPACES),
                *(find("nearest", of, "descriptors", ".1f") for of in ("clips", "decoys")),
                find("near_share", "clips", "clap", ".0%"),
            )
        )
    head = ("training step", "loss, tracks", "loss, decoys", *(f"Fréchet, clips / decoys, {t}" for _, t in SPACES))
    head += ("nearest track, clips", "nearest track, decoys", "clips nearer than 5 % of decoys (CLAP)")
    return _markdown(head, body)


def sweep_table(kept: Any) -> str:
    """Guidance and sampler."""
    body = []
    for line in kept["rows"]:
        find = _finder(line["measures"])
        settings = (f"{line['guidance']:g}", f"{line['steps']}", line["sampler"], f"{line['seconds_a_clip']:.1f}")
        ratios = (find("frechet_ratio", "clips", space, ".2f") for space, _ in SPACES)
        body.append((*settings, *ratios, find("accuracy", "clips", "", ".0%")))
    head = ("guidance", "steps", "sampler", "s a clip", *(f"Fréchet, clips / decoys, {t}" for _, t in SPACES))
    return _markdown((*head, "instrument heard"), body)


def planted_table(kept: Any) -> str:
    """What is known beforehand, and who finds it."""
    body = [
        (row["truth"], row["name"].replace("_", " "), f"{row['method']} {row['score']}".strip(), _estimate(row, ".3g"))
        for row in kept["rows"]
    ]
    return _markdown(("truth", "measure", "by", "value [95 %]"), body)


def null_table(kept: Any) -> str:
    """Controls in which there is nothing to find."""
    body = [
        (
            row["control"],
            row["case"],
            f"{row['name'].replace('_', ' ')} {row['score']}".strip(),
            _estimate(row, ".2f"),
            row["wanted"],
        )
        for row in kept["rows"]
    ]
    return _markdown(("control", "case", "measure", "value [95 %]", "wanted"), body)


def calibration_table(kept: Any) -> str:
    """The test of above noise with more and fewer common modes removed."""
    body = [
        (
            f"{row['modes']}",
            f"{row['auc']:.2f} ({row['auc_least']:.2f} to {row['auc_most']:.2f})",
            f"{row['clips_tracks']:.0%}, {row['tracks']}",
            f"{row['clips_decoys']:.0%}, {row['decoys']}",
            f"{row['mirrored_clips_tracks']:.0%}, {row['mirrored_clips_decoys']:.0%}",
            f"{row['decoys_top10']:.0%}",
        )
        for row in kept["rows"]
    ]
    head = ("modes removed", "track above decoy, mean and range over clips", "clips with tracks found, tracks")
    head += ("roles exchanged: clips with decoys found, decoys", "at the lower end: tracks, decoys")
    return _markdown((*head, "decoys in the top 10"), body)


# -- parts -------------------------------------------------------------------------------------------------------


def _finder(rows: Sequence[Row]) -> Callable[[str, str, str, str], str]:
    by_name = {(row["measure"], row["of"], row["space"]): row for row in rows}

    def find(measure: str, of: str, space: str, form: str) -> str:
        row = by_name.get((measure, of, space))
        return _estimate(row, form) if row else "–"

    return find


def _estimate(row: Row, form: str) -> str:
    """'1.2 [1.1, 1.3]', or the value alone where it has no interval of its own."""
    value = f"{row['value']:{form}}"
    if row.get("low") is None or row["low"] == row["high"]:
        return value
    return f"{value} [{row['low']:{form}}, {row['high']:{form}}]"


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
