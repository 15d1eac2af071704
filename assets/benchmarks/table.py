"""The README's table of the pass from what the benchmarks kept: `make bench-table`, or `python …/table.py`.

Writes between the two marks of README.md; `--check` compares and writes nothing; `--print` shows the table. A test does
the same, so that README and assets/benchmarks/{pass,peers,gpu}.json cannot differ. What is not kept is left out. No
figure is computed here. Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
README = FOLDER.parents[1] / "README.md"
BEGIN, END = "<!-- benchmarks: written by make bench-table -->", "<!-- benchmarks end -->"
Kept = dict[str, Any]


def kept(folder: Path) -> dict[str, Kept]:
    """What is there, by name."""
    paths = {name: folder / f"{name}.json" for name in ("pass", "peers", "gpu")}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def table(found: dict[str, Kept]) -> str:
    """Markdown of all parts that are kept."""
    parts = {"pass": _pass, "peers": _peers, "gpu": _gpu}
    return "\n\n".join(make(found[name]) for name, make in parts.items() if name in found)


def _pass(data: Kept) -> str:
    rows = {row["case"]: row for row in data["rows"]}
    lines = [
        _head(data, "the embedded model"),
        "",
        "| | two losses, subtracted (the paper's way) | one gradient for all clips | times as fast |",
        "|---|---|---|---|",
    ]
    for row in data["rows"]:
        if "way_a_ms" in row:
            clips = "1 clip" if row["clips"] == 1 else f"{row['clips']} clips"
            speedup = row[f"speedup_q{row['clips']}"]
            lines.append(f"| ms a track, {clips} | {row['way_a_ms']:,.0f} | {row['way_c_ms']:,.0f} | {speedup:g} |")
    rho = {way: rows[f"rank correlation, {way}"]["rho_fp64"] for way in ("(a) fp32", "(c) fp32", "(c) bf16")}
    fp32, bf16 = rho["(c) fp32"], rho["(c) bf16"]
    lines.append(f"| least rank correlation to fp64 | {rho['(a) fp32']:g} | fp32 {fp32:g}, bf16 {bf16:g} | |")
    peaks = {row["case"]: row["peak_mb"] for row in data["rows"] if row["case"].startswith("peak memory")}
    name = next(case for case in peaks if "(c)" in case)
    peak_a = peaks[name.replace("(c)", "(a)")]
    lines.append(f"| {name.replace(', way (c)', '')} | {peak_a:,} MB | {peaks[name]:,} MB | |")
    clip = {key: rows[f"a new clip, {key}, computed"] for key in ("way (a)", "way (c)", "the index")}
    tracks, seconds = clip["way (a)"]["tracks"], {key: f"{row['seconds']:,.0f} s" for key, row in clip.items()}
    lines.append(f"| a new clip over {tracks} tracks, computed | {seconds['way (a)']} | {seconds['way (c)']} | |")
    measured = rows["a new clip, the index, measured"]
    whole = f"; `attribute` as a whole {measured['seconds']:g} s" if "seconds" in measured else ""
    lines.append(f"| the same by the index | | {seconds['the index']}{whole} | |")
    share = rows["share of the matmul rate, way (c)"]["share"]
    return "\n".join([*lines, f"| share of the machine's own matmul rate | | {share:.0%} | |"])


def _peers(data: Kept) -> str:
    lines = [_head(data, "raw products of gradients by other libraries, same rows"), ""]
    lines += ["| library | ms a row | rank correlation to fp64 | peak memory |", "|---|---|---|---|"]
    for row in data["rows"]:
        if "ms_a_row" in row:
            proved = "" if row["proved"] else " (not proved)"
            cells = f"{row['ms_a_row']:g} | {row['rho_fp64']:g}{proved} | {row['peak_mb']:,} MB"
        else:
            cells = f"{row['result'].replace('|', '/')} | | "
        lines.append(f"| {row['case']} | {cells} |")
    return "\n".join(lines)


def _gpu(data: Kept) -> str:
    lines = [_head(data, "1.06 billion parameters, random weights, bf16"), ""]
    lines += [
        "| card, frames | s a track, 64 clips | share of its matmul rate | projected for 115,000 tracks | the paper |",
        "|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        compiled = ", compiled" if row.get("compiled") else ""
        hours = f"{row['projected_hours_115k']:,.0f} h (projected) | {row['paper_hours_115k']:,.0f} h"
        name = f"{row['device']}, {row['frames']:,} frames{compiled}"
        lines.append(f"| {name} | {row['track_s']:g} | {row['share']:.0%} | {hours} |")
    return "\n".join(lines)


def _head(data: Kept, what: str) -> str:
    runs = "1 run" if data["repeats"] == 1 else f"medians of {data['repeats']} runs"
    return f"`{data['command']}`, {what}: {data['hardware']}; {runs}."


def written(readme: str, text: str) -> str:
    """README with the table in its place. Raises ValueError where the marks are missing."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md needs these two lines, once each, where the table goes:\n{BEGIN}\n{END}")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing; 1 where they differ")
    parser.add_argument("--print", action="store_true", help="show the table, write nothing")
    options = parser.parse_args()
    found = kept(FOLDER)
    if not found:
        print("table: nothing is kept yet; make bench writes assets/benchmarks/pass.json", file=sys.stderr)
        return 1
    if options.print:
        print(table(found))
        return 0
    old = README.read_text(encoding="utf-8")
    try:
        new = written(old, table(found))
    except ValueError as error:
        print(f"table: {error}", file=sys.stderr)
        return 1
    if options.check:
        print("README.md agrees with assets/benchmarks" if old == new else "README.md differs: make bench-table")
        return int(old != new)
    README.write_text(new, encoding="utf-8")
    print(f"README.md: table of {', '.join(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
