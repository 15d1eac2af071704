"""The README's tables from what was kept: `make bench-table`, or `python assets/benchmarks/table.py`.

Three tables, each between two marks of README.md: of planted truths, from demo-planted.json; of the reference paper's
experiments, from demo-{self-influence,agreement}.json; of the pass, from {pass,peers,gpu}.json. `--check` compares and
writes nothing; `--print` shows them. A test does the same, so that README and the files cannot differ. What is not kept
is left out. No figure is computed here. Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
README = FOLDER.parents[1] / "README.md"
Kept = dict[str, Any]


def marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: written by make bench-table -->", f"<!-- {name} end -->"


def kept(folder: Path) -> dict[str, Kept]:
    """What is there, by name."""
    paths = {name: folder / f"{name}.json" for parts in TABLES.values() for name in parts}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def tables(found: dict[str, Kept]) -> dict[str, str]:
    """Markdown by the name of its marks: all parts that are kept."""
    made = {
        mark: [make(found[name]) for name, make in parts.items() if name in found] for mark, parts in TABLES.items()
    }
    return {mark: "\n\n".join(parts) for mark, parts in made.items() if parts}


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


def _self_influence(data: Kept) -> str:
    settings = data["settings"]
    lines = [
        f"`{data['command']}`: {settings['targets']} tracks; {data['hardware']}; {data['seconds'] / 60:.0f} min.",
        "",
    ]
    lines += [
        "| layers, mask | R, 1 step | R, 4 steps | R, the paper | CLAP first / last | the paper |"
        " Fréchet before, after |",
        "|---|---|---|---|---|---|---|",
    ]
    ways = {(row["layers"], row["mask"], row["steps"]): row for row in data["rows"]}
    for (layers, mask, steps), row in ways.items():
        if steps != 1:
            continue
        more = ways.get((layers, mask, 4), {}).get("R")
        paper = ends = ""
        if "paper_R" in row:
            paper, ends = f"{row['paper_R']:,.1f}", f"{row['paper_top']:.2f} / {row['paper_bottom']:.2f}"
        moved = f"{row['frechet_before']:.3f}, {row['frechet']:.3f}" if "frechet" in row else ""
        own = f"{row['R']:.1f} | {'' if more is None else f'{more:.1f}'} | {paper}"
        lines.append(
            f"| {layers}, {mask} | {own} | {row['clap_top']:.2f} / {row['clap_bottom']:.2f} | {ends} | {moved} |"
        )
    return "\n".join(lines)


def _agreement(data: Kept) -> str:
    def both(row: Kept, name: str, form: str) -> str:
        return f"{row[f'{name}_raw']:{form}}, {row[f'{name}_norm']:{form}}" if f"{name}_raw" in row else ""

    of = f"{data['weighted_clips']} clips"
    lines = [f"`{data['command']}`: {data['hardware']}. Where two figures stand: raw, normalised.", ""]
    lines += [
        "| method | Pearson with unlearning | the paper | its rankings of different clips |"
        f" decoys in the top 10 (chance {data['decoys_chance']:.0%}) | track above decoy |"
        f" weighted track above twin, {of} | in the top 10 | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in data["table"]:
        pearson = f"{row['pearson_raw']:.2f}" if "pearson_raw" in row else ""
        paper = f"{row['paper']:.2f}" if "paper" in row else ""
        cells = [row["method"], pearson, paper, both(row, "between_clips", ".2f"), both(row, "decoys_top10", ".0%")]
        cells += [both(row, "auc", ".2f"), both(row, "weighted_above_twin", ".0%"), both(row, "weighted_top10", ".0%")]
        lines.append(f"| {' | '.join(cells)} | {row['cost_s']:.0f} |")
    return "\n".join(lines)


def _planted(data: Kept) -> str:
    rows = {(row["truth"], row["name"], row["method"], row["score"]): row for row in data["rows"]}
    methods = list(data["settings"]["methods"])
    of_caption = f"an exemplar among {data['settings'].get('rivals', 0) + 1} of its caption: mean place"
    named = {
        ("weighted", "share_above_twin", ".0%"): "weighted track above its twin",
        ("rare", "hits_in_top10", ".1f"): "rare tracks among the first ten",
        ("rare", "auc_over_unheard", ".0%"): "rare track above an unheard one of its style",
        ("exemplars", "mean_rank", ".1f"): "an exemplar among the training tracks: mean place",
        ("exemplars", "mean_rank_untuned", ".1f"): "… before the tuning",
        ("exemplars", "mean_place", ".1f"): of_caption,
        ("exemplars", "mean_place_untuned", ".1f"): "… before the tuning",
    }
    lines = [f"| | {' | '.join(methods)} | chance |", "|---" * (len(methods) + 2) + "|"]
    for (truth, name, form), told in named.items():
        expected = rows.get((truth, name, "random", ""))
        if expected is None:
            continue
        chance = format(expected["value"], ".2f" if name == "hits_in_top10" else form)
        for score in ("raw", "normalised"):
            found = [rows.get((truth, name, method, score)) for method in methods]
            tests = [rows.get((truth, "p_value", method, score)) if "unheard" in name else None for method in methods]
            cells = ["" if row is None else _with_interval(row, form) for row in found]
            cells = [
                cell if test is None else f"{cell} (p {test['value']:.2g})"
                for cell, test in zip(cells, tests, strict=True)
            ]
            lines.append(f"| {told}, {score} | {' | '.join(cells)} | {chance} |")
    return "\n".join(lines)


def _with_interval(row: Kept, form: str) -> str:
    if "low" not in row:
        return format(row["value"], form)
    low, high = (format(row[end], form).removesuffix("%") for end in ("low", "high"))
    return f"{row['value']:{form}} [{low}, {high}]"


TABLES = {
    "planted truths": {"demo-planted": _planted},
    "benchmarks": {"pass": _pass, "peers": _peers, "gpu": _gpu},
    "experiments": {"demo-self-influence": _self_influence, "demo-agreement": _agreement},
}


def written(readme: str, made: dict[str, str]) -> str:
    """README with the tables in their places. Raises ValueError where marks are missing."""
    for name, text in made.items():
        begin, end = marks(name)
        if readme.count(begin) != 1 or readme.count(end) != 1:
            raise ValueError(f"README.md needs these two lines, once each, where the table goes:\n{begin}\n{end}")
        readme = f"{readme.split(begin)[0]}{begin}\n{text}\n{end}{readme.split(end)[1]}"
    return readme


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing; 1 where they differ")
    parser.add_argument("--print", action="store_true", help="show the table, write nothing")
    options = parser.parse_args()
    found = kept(FOLDER)
    if not found:
        print("table: nothing is kept yet; make bench and `precompute evaluate` do", file=sys.stderr)
        return 1
    if options.print:
        print("\n\n".join(tables(found).values()))
        return 0
    old = README.read_text(encoding="utf-8")
    try:
        new = written(old, tables(found))
    except ValueError as error:
        print(f"table: {error}", file=sys.stderr)
        return 1
    if options.check:
        print("README.md agrees with assets/benchmarks" if old == new else "README.md differs: make bench-table")
        return int(old != new)
    README.write_text(new, encoding="utf-8")
    print(f"README.md: tables of {', '.join(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
