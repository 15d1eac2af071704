"""The model card's tables, written between marks from the kept results, so that nobody copies a number by hand.

A mark is a line `<!-- NAME -->`; the text between it and `<!-- /NAME -->` is replaced. For a result that is not there,
or is of other weights than those beside the card, one line says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from precompute.common.files import hash_file, write_atomically
from precompute.errors import UserError

Row = dict[str, Any]
SPACES = (("clap", "CLAP"), ("descriptors", "descriptors"))
KINDS = ("raw", "normalised")
TRUTHS = {  # truth -> its explanation, and its measures: name, heading, format
    "weighted": (
        "Weighted tracks, drawn 8 times as often as others, each with a twin: share of clips of their caption in which"
        " the weighted one stands above its twin.",
        (("share_above_twin", "above its twin", ".2f"),),
    ),
    "rare": (
        "A rare style: its tracks among the ten best training tracks of a clip of its caption, and the share of clips"
        " with three of them or more; then how often one of them stands above a piece of the same style and caption"
        " that the model never heard (p: permutation test), which the caption cannot explain.",
        (
            ("hits_in_top10", "in the top 10", ".2f"),
            ("seeds_with_3_hits", "three or more", ".2f"),
            ("auc_over_unheard", "above an unheard one", ".2f"),
            ("p_value", "p", ".3f"),
        ),
    ),
    "exemplars": (
        "Exemplars, on which the model was fine-tuned: the rank of the exemplar among the training tracks for clips of"
        " the tuned weights, and its place among decoys under its own caption; both also before the tuning, when it was"
        " a stranger and its caption alone could lift it.",
        (
            ("mean_rank", "mean rank", ".1f"),
            ("mean_rank_untuned", "rank before", ".1f"),
            ("mean_place", "place in its caption", ".1f"),
            ("mean_place_untuned", "place before", ".1f"),
        ),
    ),
}


def write_card(card: Path, results: Path, measured: Path) -> None:
    """Rewrite the marked parts of `card` from `results`/demo-*.json and `measured` (model-card.json).

    Where model.safetensors lies beside the card, results of other weights count as missing. Prints what is missing.
    Raises UserError where the card or a mark is missing, or a result is not valid JSON.
    """
    if not card.is_file():
        raise UserError(f"{card}: no model card here")
    text = card.read_text(encoding="utf-8")
    weights = card.with_name("model.safetensors")
    sha256 = hash_file(weights) if weights.is_file() else None
    losses = (_read_result(measured) or {}).get("losses", [])
    for name, (kind, format_part) in PARTS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise UserError(f"{card}: has no part marked <!-- {name} --> ... <!-- /{name} -->")
        path = measured if kind is None else results / f"demo-{kind}.json"
        result = _read_result(path)
        stale = result is not None and sha256 is not None and result.get("model_sha256", sha256) != sha256
        if name == "training" and losses:
            body = format_training_table(None if stale else result, losses, stale)
        elif result is None or stale:
            body = _describe_missing(kind, stale)
            print(f"{path}: {'of other weights' if stale else 'not here'}; the card says so in its part {name!r}")
        else:
            body = format_part(result)
        text = pattern.sub(partial(_fill_part, body), text)
    write_atomically(card, text)


def _read_result(path: Path) -> Any:
    """Content of a result file; None where there is none. Raises UserError where it is not valid JSON."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error}); make it anew") from error


def _fill_part(body: str, match: re.Match[str]) -> str:
    return f"{match[1]}\n{body}\n\n{match[2]}"


def _describe_missing(kind: str | None, stale: bool) -> str:
    command = f"evaluate {kind}" if kind else "train-demo"
    return f"Not measured on {'these weights' if stale else 'this model'}: `python -m precompute {command}` does it."


# -- tables ------------------------------------------------------------------------------------------------------


def format_autoencoder_table(result: Any) -> str:
    """Measures of the autoencoder, on decoys, and its ringing."""
    texts = (
        ("si_sdr_db", "SI-SDR, dB"),
        ("low_pass_db", "SI-SDR of a low-pass that needs as many numbers, dB"),
        ("snr_db", "SNR, dB"),
        ("stft_distance", "multi-resolution STFT distance"),
        ("band_error_db", "error of the spectrum's level, dB"),
        ("onset_blur_db", "error in the 50 ms of the steepest attack, dB relative to it"),
        ("silence_db", "level of decoded silence, dBFS"),
        ("latent_mean", "largest mean of a latent channel"),
        ("latent_deviation_least", "least deviation of a latent channel"),
        ("latent_deviation_most", "greatest deviation of a latent channel"),
    )
    body = []
    for measure, text in texts:
        for row in result["rows"]:
            if row["measure"] == measure:
                where = "" if row["of"] == "decoys" else f", {row['of']}"
                body.append((f"{text}{where}", format_estimate(row, ".1f" if measure.endswith("_db") else ".2f")))
    table = format_markdown(("decoys as recorded, never heard", "mean [95 %]"), body)
    return "\n\n".join([table, *_format_ringing(result["rows"])])


def _format_ringing(rows: Sequence[Row]) -> list[str]:
    """Ringing by band and set, as a table in a list; empty where it was not measured."""
    find = _make_finder(rows)
    bands = list(dict.fromkeys(row["space"] for row in rows if row["measure"] == "ringing_db"))
    sets = {"decoys": "decoys as recorded", "reconstructions": "reconstructed", "clips": "generated clips"}
    body = [(band, *(find("ringing_db", of, band, ".1f") for of in sets)) for band in bands]
    head = ("ringing: level at multiples of the patch rate against between, dB", *sets.values())
    return [format_markdown(head, body)] if body else []


def format_learning_table(result: Any) -> str:
    """Reconstruction along the autoencoder's training."""
    body = [
        (f"{row['step']:,}", *(f"{row[kind][name]:.2f}" for name in NAMES for kind in ("train", "decoy")))
        for row in result["reconstruction"]
    ]
    head = ("training step", *(f"{text}, {kind}" for text in NAMES.values() for kind in ("training tracks", "decoys")))
    return format_markdown(head, body)


NAMES = {"si_sdr_db": "SI-SDR, dB", "stft_distance": "STFT distance"}


def format_quality_table(result: Any) -> str:
    """Clips beside decoys, both against training tracks."""
    find = _make_finder(result["rows"])
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
    both = format_markdown(("", *(title for _, title in SPACES)), body)
    by_set = []
    for measure, text, form in (
        ("accuracy", "instrument heard as asked for", ".0%"),
        ("times_chance", "… times chance (wanted: at least 5)", ".1f"),
        ("onset_deviation", "onset rate: mean deviation from the collection's tracks, per second", ".2f"),
        ("pitch_distance", "pitch classes: distance from the collection's tracks (0 to 1)", ".2f"),
    ):
        by_set.append((text, *(find(measure, of, "", form) for of in ("decoys", "clips"))))
    return both + "\n\n" + format_markdown(("", "decoys", "clips"), by_set)


def format_training_table(result: Any, losses: Sequence[Row], stale: bool = False) -> str:
    """Losses, distances and nearness along training; losses alone where `result` is None."""
    loss = {row["step"]: row for row in losses}
    lines = result["training"] if result else [{"step": step} for step in sorted(loss)]
    body = []
    for line in lines:
        own = loss.get(line["step"], {})
        cells = [f"{line['step']:,}", *(f"{own[kind]:.3f}" if kind in own else "–" for kind in ("train", "decoy"))]
        if result:
            find = _make_finder(line["measures"])
            cells += [find("frechet_ratio", "clips", space, ".2f") for space, _ in SPACES]
            cells += [find("nearest", of, "descriptors", ".1f") for of in ("clips", "decoys")]
            cells.append(find("near_share", "clips", "clap", ".0%"))
        body.append(cells)
    head: tuple[str, ...] = ("training step", "loss, tracks", "loss, decoys")
    if result:
        head += tuple(f"Fréchet, clips / decoys, {title}" for _, title in SPACES)
        head += ("nearest track, clips", "nearest track, decoys", "clips nearer than 5 % of decoys (CLAP)")
    table = format_markdown(head, body)
    return table if result else f"{table}\n\nDistances of clips: {_describe_missing('quality', stale).lower()}"


def format_sweep_table(result: Any) -> str:
    """Quality over guidance and settings of the sampler."""
    body = []
    for line in result["rows"]:
        find = _make_finder(line["measures"])
        settings = (f"{line['guidance']:g}", f"{line['steps']}", line["sampler"], f"{line['seconds_a_clip']:.1f}")
        ratios = (find("frechet_ratio", "clips", space, ".2f") for space, _ in SPACES)
        body.append((*settings, *ratios, find("accuracy", "clips", "", ".0%")))
    head = ("guidance", "steps", "sampler", "s a clip", *(f"Fréchet, clips / decoys, {t}" for _, t in SPACES))
    return format_markdown((*head, "instrument heard"), body)


def format_calibration_table(result: Any) -> str:
    """The test of above noise where nothing is to be found, and where something is: a table each."""
    body = [
        (
            row["method"],
            *_format_false_findings(row),
            *(_format_shares(row, name) for name in ("caption", "style")),
            "–" if row["reliability"] is None else f"{row['reliability']:.2f}",
        )
        for row in result["rows"]
    ]
    head: tuple[str, ...] = (
        "method",
        "clips with a finding where there is none (at most 10 %)",
        "clips that could have had one",
        "same caption: p ≤ 0.01, p ≤ 0.05",
        "same style: p ≤ 0.01, p ≤ 0.05",
        "rankings by two halves of the draws agree",
    )
    cases = list(dict.fromkeys(row["planted"] for row in result["power"]))
    found = {(row["method"], row["planted"]): row for row in result["power"]}
    power = [
        (method, *(_format_found(found.get((method, case))) for case in cases))
        for method in dict.fromkeys(row["method"] for row in result["power"])
    ]
    return "\n\n".join([format_markdown(head, body), format_markdown(("clips that find their", *cases), power)])


def _format_false_findings(row: Any) -> tuple[str, str]:
    if row["clips_with_finding"] is None:
        return "–", "–"
    share = f"{row['clips_with_finding']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
    return share, f"{row['could_fire']:.0%}"


def _format_shares(row: Any, name: str) -> str:
    shares = [row[f"{name}_p{point}"] for point in ("01", "05")]
    return "–" if None in shares else ", ".join(f"{share:.1%}" for share in shares)


def _format_found(row: Any) -> str:
    return "–" if row is None else f"{row['found']} of {row['of']} [{row['low']:.0%}, {row['high']:.0%}]"


def format_planted_table(result: Any) -> str:
    """Measures of each method by the planted truths: a table for each truth."""
    parts = []
    for truth, (text, measures) in TRUTHS.items():
        rows = [row for row in result["rows"] if row["truth"] == truth]
        methods = list(dict.fromkeys(row["method"] for row in rows if row["score"] in KINDS))
        if not methods:
            continue
        by_name = {(row["method"], row["score"], row["name"]): row for row in rows}
        body = [
            (
                method,
                *(
                    _format_cell(by_name.get((method, kind, name)), form)
                    for name, _, form in measures
                    for kind in KINDS
                ),
            )
            for method in methods
        ]
        chance = [_format_cell(by_name.get(("random", "", name)), form) for name, _, form in measures]
        body.append(("*by chance*", *(cell for cell in chance for _ in KINDS)))
        head = ("method", *(f"{text}, {kind}" for _, text, _ in measures for kind in KINDS))
        parts += [" ".join([text, *_format_losses(by_name)]), format_markdown(head, body)]
    left_out = [
        f"Not judged: {row['method']} by {row['truth']} ({row['reason']})." for row in result.get("skipped", [])
    ]
    return "\n\n".join(parts + left_out)


def _format_losses(by_name: dict[tuple[str, str, str], Row]) -> list[str]:
    """Mean losses, as a sentence in a list: of heard and unheard tracks, or of weighted tracks and twins."""
    heard, unheard = (by_name.get(("loss", "", name)) for name in ("mean_heard", "mean_unheard"))
    if heard and unheard:
        return [f"Mean loss of the heard {heard['value']:.3f}, of the unheard {unheard['value']:.3f}."]
    one, other, difference = (
        by_name.get(("loss", "", name)) for name in ("mean_weighted", "mean_twin", "weighted_minus_twin")
    )
    if not (one and other and difference):
        return []
    change = format_estimate(difference, ".3f")
    return [f"Mean loss of the weighted {one['value']:.3f}, of the twins {other['value']:.3f}, difference {change}."]


def format_null_table(result: Any) -> str:
    """Controls in which there is nothing to find: a line for each measure, a column for each method and score."""
    rows = result["rows"]
    columns = list(dict.fromkeys((row["method"], kind) for row in rows for kind in KINDS))
    asked = list(dict.fromkeys((row["control"], row["case"], row["name"], row["wanted"]) for row in rows))
    by_name = {_find_place(row): row for row in rows}
    body = [
        (
            control,
            case,
            name.replace("_", " "),
            *(_format_cell(by_name.get((control, case, name, *column)), ".2f") for column in columns),
            wanted or "–",
        )
        for control, case, name, wanted in asked
    ]
    head = ("control", "case", "measure", *(f"{method}, {kind}" for method, kind in columns), "wanted")
    return format_markdown(head, body)


def _find_place(row: Row) -> tuple[str, ...]:
    """Place of a row in the table; rows on what is above noise have no score and stand with the normalised ones."""
    return row["control"], row["case"], row["name"], row["method"], row["score"] or "normalised"


def _format_cell(row: Row | None, form: str) -> str:
    return format_estimate(row, form) if row else "–"


# -- parts -------------------------------------------------------------------------------------------------------


def format_estimate(row: Row, form: str) -> str:
    """'1.2 [1.1, 1.3]', or the value alone where it has no interval of its own."""
    value = f"{row['value']:{form}}"
    if row.get("low") is None or row["low"] == row["high"]:
        return value
    return f"{value} [{row['low']:{form}}, {row['high']:{form}}]"


def format_markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _make_finder(rows: Sequence[Row]) -> Callable[[str, str, str, str], str]:
    """A function (measure, set, space, format) -> value and interval as text; a dash where it was not measured."""
    by_name = {(row["measure"], row["of"], row["space"]): row for row in rows}

    def find(measure: str, of: str, space: str, form: str) -> str:
        row = by_name.get((measure, of, space))
        return format_estimate(row, form) if row else "–"

    return find


PARTS: dict[str, tuple[str | None, Callable[[Any], str]]] = {  # mark -> its verb of `evaluate`; None: train-demo's
    "autoencoder": ("quality", format_autoencoder_table),
    "learning": (None, format_learning_table),
    "quality": ("quality", format_quality_table),
    "training": ("quality", lambda result: format_training_table(result, [])),
    "sweep": ("sweep", format_sweep_table),
    "planted": ("planted", format_planted_table),
    "null": ("null", format_null_table),
    "calibration": ("calibration", format_calibration_table),
}
