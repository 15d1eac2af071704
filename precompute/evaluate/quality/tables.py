"""Plain-text tables of the measurements of `evaluate quality` and `evaluate sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from precompute.evaluate.quality.measures import SPACES, Measurement

SETS = {  # set -> row of the table of distances
    "clips": "generated clips",
    "decoys": "decoys (never heard)",
    "tracks": "other training tracks",
    "codec": "… as recorded, to the decoded reference",
    "originals": "… as recorded, to the reference as recorded",
}
RINGING = {"decoys": "decoys as recorded", "reconstructions": "… reconstructed", "clips": "generated clips"}


def _format_cell(rows: list[Measurement], measure: str, of: str, space: str = "", form: str = ".2f") -> str:
    """'1.23 [1.10, 1.40]', or '–' where it was not measured."""
    for row in rows:
        if (row.measure, row.of, row.space) == (measure, of, space):
            return f"{row.value:{form}} [{row.low:{form}}, {row.high:{form}}]"
    return "–"


def _format_table(head: tuple[str, ...], body: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in plain text, under an empty line: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    return [
        "",
        *(
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in (head, *body)
        ),
    ]


def format_distances(rows: list[Measurement]) -> list[str]:
    """Distances of every set to the reference, then of single clips and decoys to the nearest training track."""
    measured = [of for of in SETS if any((row.measure, row.of) == ("frechet", of) for row in rows)]
    lines = []
    for measure, title in (("frechet", "Fréchet distance to the reference"), ("kernel", "kernel distance")):
        form = ".2f" if measure == "frechet" else ".3f"
        body = [(SETS[of], *(_format_cell(rows, measure, of, space, form) for space in SPACES)) for of in measured]
        extra = [("frechet_ratio", "clips / decoys")]
        if measure == "kernel":
            extra = [("kernel_difference", "clips - decoys"), ("kernel_ratio", "clips / decoys")]
        body += [(text, *(_format_cell(rows, name, "clips", space, form) for space in SPACES)) for name, text in extra]
        lines += _format_table((title, "CLAP", "descriptors"), body)
    lines.append("(The decoys' kernel distance has expectation near 0: – where a ratio to it would mean nothing.)")
    body = [
        (f"{of}, median", *(_format_cell(rows, "nearest", of, space) for space in SPACES)) for of in ("clips", "decoys")
    ]
    near = (_format_cell(rows, "near_share", "clips", space, ".0%") for space in SPACES)
    body.append(("clips nearer than the nearest 5 % of decoys", *near))
    return lines + _format_table(("distance to the nearest training track", "CLAP", "descriptors"), body)


def format_adherence(rows: list[Measurement]) -> list[str]:
    """The instrument that a classifier hears beside the one that the caption names."""
    chance = next((row.value for row in rows if row.measure == "chance"), None)
    if chance is None:
        return ["", "instrument: too few training tracks of two instruments, not measured"]
    body = [
        (of, _format_cell(rows, "accuracy", of, form=".0%"), _format_cell(rows, "times_chance", of, form=".1f"))
        for of in ("decoys", "clips")
    ]
    return _format_table(("instrument of the caption, by a classifier", "heard", f"times chance ({chance:.1%})"), body)


def format_collections(table: list[dict[str, Any]], rows: list[Measurement]) -> list[str]:
    """Onset rates and pitch classes by collection, then their means."""
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
    lines = _format_table(head, body)
    means = (("onset_rate", "mean onset rate", names), ("onset_deviation", "its deviation from tracks'", names[1:]))
    body = [
        (text, *(_format_cell(rows, measure, name) if name in of else "" for name in names))
        for measure, text, of in (*means, ("pitch_distance", "pitch classes' distance", names[1:]))
    ]
    return lines + _format_table(("mean over collections", *names), body)


def format_codec(rows: list[Measurement]) -> list[str]:
    """Measures of the autoencoder; empty where none was measured."""
    names: tuple[str, ...] = (
        "si_sdr_db",
        "low_pass_db",
        "snr_db",
        "stft_distance",
        "onset_blur_db",
        "nudge_db",
        "nudge_stft",
        "band_error_db",
    )
    names += ("silence_db", "latent_mean", "latent_deviation_least", "latent_deviation_most")
    body = [
        (f"{row.measure} {'' if row.of == 'decoys' else row.of}".strip(), _format_cell(rows, row.measure, row.of))
        for name in names
        for row in rows
        if row.measure == name
    ]
    return _format_table(("autoencoder, on decoys as recorded", "mean"), body) if body else []


def format_ringing(rows: list[Measurement]) -> list[str]:
    """Ringing by band and set; empty where none was measured."""
    bands = list(dict.fromkeys(row.space for row in rows if row.measure == "ringing_db"))
    body = [(band, *(_format_cell(rows, "ringing_db", of, band, ".1f") for of in RINGING)) for band in bands]
    return (
        _format_table(("level at multiples of the patch rate against between, dB", *RINGING.values()), body)
        if body
        else []
    )


def format_training(table: list[dict[str, Any]]) -> list[str]:
    """Distances and nearness along training."""
    body = []
    for line in table:
        rows = [Measurement(**row) for row in line["measures"]]
        cells = [_format_cell(rows, "frechet_ratio", "clips", space) for space in SPACES]
        cells += [_format_cell(rows, "nearest", of, "descriptors") for of in ("clips", "decoys")]
        cells += [_format_cell(rows, "near_share", "clips", space, ".0%") for space in SPACES]
        body.append((f"{line['step']}", *cells))
    head = ("training step", *(f"Fréchet, clips / decoys, {space}" for space in SPACES))
    head += ("nearest track: clips", "decoys", *(f"clips nearer than 5 % of decoys, {space}" for space in SPACES))
    return _format_table(head, body)


def format_sweep(table: list[dict[str, Any]]) -> list[str]:
    """Distances and adherence by setting of the sampler."""
    body = []
    for line in table:
        rows = [Measurement(**row) for row in line["measures"]]
        body.append(
            (
                f"{line['guidance']:g}",
                f"{line['steps']}",
                line["sampler"],
                f"{line['seconds_a_clip']:.2f}",
                *(_format_cell(rows, "frechet_ratio", "clips", space) for space in SPACES),
                *(_format_cell(rows, "kernel_difference", "clips", space, ".3f") for space in SPACES),
                _format_cell(rows, "accuracy", "clips", form=".0%"),
            )
        )
    space_heads = (
        f"{text}, {space}" for text in ("Fréchet, clips / decoys", "kernel, clips - decoys") for space in SPACES
    )
    return _format_table(("guidance", "steps", "sampler", "s a clip", *space_heads, "instrument heard"), body)
