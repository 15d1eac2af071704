"""Where is it wrong? The page's lists of hard cases, in Python: `python -m explorer.examples.error_analysis STORE`.

Prints, for one method of a store, what the tab "Where is it wrong" shows; `--csv FOLDER` writes each list to a file.
Scores: higher = stronger influence; place 1 = strongest among training tracks. All comes through `explorer.store`, the
only door to a store, which opens it read-only.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explorer.methods import hard_cases
from explorer.state.queries import FIRST_PLACES
from explorer.store import Store, StoreError
from explorer.text.hard_cases import KINDS

_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?", re.IGNORECASE)
_SHOWN = {  # list -> the columns that are printed
    "disagree": ["clip_id", "methods", "spearman", "overlap"],
    "hubs": ["track_id", "title", "clips", "of", "best_clip", "best_rank", "mean_norm"],
    "decoys": ["clip_id", "track_id", "title", "rank", "score_norm", "q_value"],
    "quiet": ["clip_id", "track_id", "title", "loudness_lufs", "train_rank", "score_norm", "q_value"],
    "short": ["clip_id", "track_id", "title", "duration_s", "train_rank", "score_norm", "q_value"],
}


def list_hard_cases(
    store: Store, method_name: str | None = None, first: int = FIRST_PLACES[0]
) -> dict[str, pd.DataFrame]:
    """Every list of `KINDS` for one method (what the page opens with where none is named), as DataFrames.

    'disagree' is about all methods but random and ensembles. Raises ValueError for a method that the store has not.
    """
    methods = store.runs.list_methods()
    wanted = method_name or store.info.default_method
    chosen = next((one for one in methods if one.name == wanted), None)
    if chosen is None:
        raise ValueError(f"no method {wanted}: this store has {', '.join(one.name for one in methods) or 'none'}")
    compared = [one.method_id for one in methods if one.name not in hard_cases.UNCOMPARED]
    tops = {method_id: store.scores.read_top(method_id) for method_id in {*compared, chosen.method_id}}
    samples = {method_id: store.scores.read_sample(method_id) for method_id in compared}
    top = tops[chosen.method_id]
    return {
        "disagree": hard_cases.find_disagreements({i: tops[i] for i in compared}, samples, first),
        "hubs": hard_cases.find_hubs(top, first),
        "decoys": hard_cases.find_decoys(top, first),
        "quiet": hard_cases.find_quiet(top, first),
        "short": hard_cases.find_short(top, store.tracks.read_usual_duration(), first),
    }


def escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy in which an apostrophe stands before every text that a spreadsheet would run as a formula."""

    def escape_cell(value: object) -> object:
        risky = isinstance(value, str) and re.match(r"[\s\0]*[=+\-@|%＋－＝＠]|[\t\r\n]", value)
        return f"'{value}" if risky and not _NUMBER.fullmatch(str(value)) else value

    return frame.apply(lambda column: column if pd.api.types.is_numeric_dtype(column) else column.map(escape_cell))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the lists; returns 1, with one line on stderr, where the store or the method is not there."""
    parser = argparse.ArgumentParser(
        prog="python -m explorer.examples.error_analysis", description=__doc__.split("\n")[0]
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--method", help="name of a method; where left out, what the page opens with")
    parser.add_argument(
        "--first", type=int, choices=FIRST_PLACES, default=FIRST_PLACES[0], help="places that count as high"
    )
    parser.add_argument("--rows", type=int, default=10, help="rows of each list that are printed")
    parser.add_argument("--csv", type=Path, help="folder for the whole lists as CSV")
    options = parser.parse_args(arguments)
    try:
        store = Store(options.store)
    except StoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        lists = list_hard_cases(store, options.method, options.first)
        if options.csv:
            options.csv.mkdir(parents=True, exist_ok=True)
        for kind, frame in lists.items():
            print(f"\n{KINDS[kind]} ({len(frame)})")
            shown = frame[[name for name in _SHOWN[kind] if name in frame]].head(options.rows)
            print(shown.to_string(index=False) if len(shown) else "  none")
            if options.csv:
                escape_formulas(frame).to_csv(options.csv / f"{kind}.csv", index=False)
    except (StoreError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
