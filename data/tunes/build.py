"""Builds the corpus of tunes: `python data/tunes/build.py [--out DIR]`. Needs music21, which carries the books.

Reads O'Neill's Music of Ireland and Ryan's Mammoth Collection, writes `tunes.abc` (all tunes, in one spelling),
`manifest.csv` (training tracks and decoys), `settings.csv` (settings of trained tunes that stay unheard) and
`unheard.csv` (further tunes of the rare rhythm). The same books give the same files.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "demo")]  # notation, books, families, selection; sources of the demo

TABLES = ("manifest", "settings", "unheard")
COLUMNS = (
    *("track_id", "work_id", "title", "composer", "collection", "rights_holder", "licence_composition"),
    *("licence_encoding", "licence_rendering", "licence_evidence", "source", "instrument", "caption", "split"),
    *("duration_s", "audition", "path", "planted", "matched_to", "training_weight"),
)
HEADER = """%abc-2.1
% Tunes of O'Neill's Music of Ireland (1903) and Ryan's Mammoth Collection (1883), written by data/tunes/build.py.
% X: is the track_id of manifest.csv, settings.csv and unheard.csv, which name book, transcriber and rights.
"""


@dataclass(frozen=True)
class TrackEntry:
    """A chosen tune with its number."""

    track_id: int
    work_id: str
    tune: object  # books.PrintedTune; books is imported late
    choice: object  # selection.ChosenTune
    matched_to: str


def number_tunes(tunes: list, names: list[str], chosen: list) -> list[TrackEntry]:
    """Numbers in random order, the manifest's first, so that no number gives a part away."""
    from selection import make_random

    order = sorted(chosen, key=lambda c: c.index)
    make_random("numbers").shuffle(order)
    order.sort(key=lambda c: TABLES.index(c.table))
    number = {c.index: k for k, c in enumerate(order, start=1)}
    return [
        TrackEntry(k, names[c.index], tunes[c.index], c, "" if c.matched_to is None else str(number[c.matched_to]))
        for k, c in enumerate(order, start=1)
    ]


def format_tune(entry: TrackEntry) -> str:
    """A tune as it stands in tunes.abc."""
    tune = entry.tune
    rhythm = f"R:{tune.rhythm}\n" if tune.rhythm else ""
    fields = f"M:{tune.melody.metre}\nL:{tune.melody.unit}\nK:{tune.melody.key}\n"
    return f"X:{entry.track_id}\nT:{tune.titles[0]}\n{rhythm}{fields}{tune.body}\n"


def format_row(entry: TrackEntry) -> dict[str, object]:
    """A line of a manifest."""
    from books import BOOKS
    from selection import WEIGHT

    tune, choice = entry.tune, entry.choice
    year = BOOKS[tune.book][-5:-1]
    return {
        "track_id": entry.track_id,
        "work_id": entry.work_id,
        "title": tune.titles[0],
        "composer": tune.composer,
        "collection": BOOKS[tune.book],
        "rights_holder": "public domain",
        "licence_composition": f"public domain (print of {year})",
        "licence_encoding": "none claimed in the file",
        "licence_rendering": "not rendered",
        "licence_evidence": f"no rights line; transcriber line: {tune.transcriber}",
        "source": f"music21 {tune.file} X:{tune.number}",
        "instrument": "none",
        "caption": tune.caption,
        "split": choice.split,
        "duration_s": f"{tune.duration_s:.1f}",
        "audition": "full",
        "path": "",
        "planted": choice.planted,
        "matched_to": entry.matched_to,
        "training_weight": WEIGHT if choice.planted == "weighted" else 1,
    }


def write_files(entries: list[TrackEntry], out: Path) -> None:
    """Write each file beside and rename, so that a broken run leaves the old ones."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {"tunes.abc": "\n".join([HEADER, *map(format_tune, entries)])}
    for name, text in texts.items():
        beside = out / f"{name}.partial"
        beside.write_text(text, encoding="utf-8")
        beside.replace(out / name)
    for table in TABLES:
        beside = out / f"{table}.partial"
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(format_row(e) for e in entries if e.choice.table == table)
        beside.replace(out / f"{table}.csv")


def main() -> int:
    """Read the books, choose, write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder of what is written (default: data/tunes)")
    options = parser.parse_args()
    from books import read_books
    from notation import list_symbols
    from selection import choose_tunes, name_works, relate_tunes
    from sources import find_corpus

    try:
        root = find_corpus()
    except FileNotFoundError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    tunes, _, refused = read_books(root)
    print(f"books: {len(tunes)} tunes may be used; set aside:")
    for reason, count in sorted(refused.items()):
        print(f"  {count:5d}  {reason}")
    relations = relate_tunes(tunes)
    print(f"{len(set(relations.family))} families, {len(set(relations.kin))} groups of kin")
    entries = number_tunes(tunes, name_works(tunes, relations), choose_tunes(tunes, relations))
    write_files(entries, options.out)
    for (table, split, planted), count in sorted(
        Counter((e.choice.table, e.choice.split, e.choice.planted) for e in entries).items()
    ):
        print(f"  {count:5d}  {table}: {split} {planted}".rstrip())
    symbols = Counter(symbol for e in entries for symbol in list_symbols(e.tune.body))
    frequent = sum(count >= 8 for count in symbols.values())
    print(f"{symbols.total()} symbols, {len(symbols)} different, {frequent} of them at least 8 times")
    for name in ("tunes.abc", *(f"{table}.csv" for table in TABLES)):
        print(f"  {(options.out / name).stat().st_size:8d} bytes  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
