"""The model card's tables of what methods are worth: a line for each method, raw and normalised scores. No torch."""

from __future__ import annotations

from typing import Any

from precompute.evaluate.card.markdown import Row, estimate, markdown

KINDS = ("raw", "normalised")
TRUTHS = {  # truth -> what is counted, and its measures: name, heading, format
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


def planted_table(kept: Any) -> str:
    """What is known beforehand, and which method finds it: a table for each truth."""
    parts = []
    for truth, (said, measures) in TRUTHS.items():
        rows = [row for row in kept["rows"] if row["truth"] == truth]
        methods = list(dict.fromkeys(row["method"] for row in rows if row["score"] in KINDS))
        if not methods:
            continue
        by_name = {(row["method"], row["score"], row["name"]): row for row in rows}
        body = [
            (method, *(_cell(by_name.get((method, kind, name)), form) for name, _, form in measures for kind in KINDS))
            for method in methods
        ]
        chance = [_cell(by_name.get(("random", "", name)), form) for name, _, form in measures]
        body.append(("*by chance*", *(cell for cell in chance for _ in KINDS)))
        head = ("method", *(f"{text}, {kind}" for _, text, _ in measures for kind in KINDS))
        parts += [" ".join([said, *_losses(by_name)]), markdown(head, body)]
    left_out = [f"Not judged: {row['method']} by {row['truth']} ({row['reason']})." for row in kept.get("skipped", [])]
    return "\n\n".join(parts + left_out)


def _losses(by_name: dict[tuple[str, str, str], Row]) -> list[str]:
    """Whether the weight took, and whether the rare tracks are known."""
    heard, unheard = (by_name.get(("loss", "", name)) for name in ("mean_heard", "mean_unheard"))
    if heard and unheard:
        return [f"Mean loss of the heard {heard['value']:.3f}, of the unheard {unheard['value']:.3f}."]
    one, other, difference = (
        by_name.get(("loss", "", name)) for name in ("mean_weighted", "mean_twin", "weighted_minus_twin")
    )
    if not (one and other and difference):
        return []
    change = estimate(difference, ".3f")
    return [f"Mean loss of the weighted {one['value']:.3f}, of the twins {other['value']:.3f}, difference {change}."]


def null_table(kept: Any) -> str:
    """Controls in which there is nothing to find: a line for each measure, a column for each method and score."""
    rows = kept["rows"]
    columns = list(dict.fromkeys((row["method"], kind) for row in rows for kind in KINDS))
    asked = list(dict.fromkeys((row["control"], row["case"], row["name"], row["wanted"]) for row in rows))
    by_name = {_place(row): row for row in rows}
    body = [
        (
            control,
            case,
            name.replace("_", " "),
            *(_cell(by_name.get((control, case, name, *column)), ".2f") for column in columns),
            wanted or "–",
        )
        for control, case, name, wanted in asked
    ]
    head = ("control", "case", "measure", *(f"{method}, {kind}" for method, kind in columns), "wanted")
    return markdown(head, body)


def _place(row: Row) -> tuple[str, ...]:
    """Where a row stands; what is above noise is a matter of normalised scores."""
    return row["control"], row["case"], row["name"], row["method"], row["score"] or "normalised"


def _cell(row: Row | None, form: str) -> str:
    return estimate(row, form) if row else "–"
