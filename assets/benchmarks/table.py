"""Write the tables of assets/README.md from the kept results: `make bench-table`.

Every table stands between two marks and is made from the result files in this folder; where a file is missing, its part
is left out. Figures are formatted here, never computed. `--check` compares and writes nothing (a test does the same, so
page and files cannot differ); `--print` shows the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "README.md"
Result = dict[str, Any]  # a result file: what, command, hardware, commit, repeats, rows, ...


def make_marks(name: str) -> tuple[str, str]:
    """The lines before and after the table of this name."""
    return f"<!-- {name}: written by make bench-table -->", f"<!-- {name} end -->"


def read_results(folder: Path) -> dict[str, Result]:
    """The result files that the folder holds, by file name without its ending."""
    paths = {name: folder / f"{name}.json" for parts in TABLES.values() for name in parts}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def format_tables(results: dict[str, Result]) -> dict[str, str]:
    """Markdown by the name of its marks, from the results at hand."""
    texts = {
        mark: [format_part(results[name]) for name, format_part in parts.items() if name in results]
        for mark, parts in TABLES.items()
    }
    return {mark: "\n\n".join(parts) for mark, parts in texts.items() if parts}


def insert_tables(page: str, tables: dict[str, str]) -> str:
    """The page with the tables in their places. Raises ValueError where a mark is missing or stands twice."""
    for name, text in tables.items():
        begin, end = make_marks(name)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{PAGE.name} needs these two lines, once each, where the table goes:\n{begin}\n{end}")
        page = f"{page.split(begin)[0]}{begin}\n{text}\n{end}{page.split(end)[1]}"
    return page


def _format_diagnostics(data: Result) -> str:
    from precompute.evaluate.report import format_diagnostics  # the table that `precompute report` prints

    return f"`{data['command']}`: {data['hardware']}.\n\n{format_diagnostics(data['rows'])}"


def _format_pass(data: Result) -> str:
    rows = {row["case"]: row for row in data["rows"]}
    lines = [
        _describe_run(data, "the demo model"),
        "",
        "| | finite difference (two losses, as in the paper) | gradient product (one gradient for all clips) |"
        " times as fast |",
        "|---|---|---|---|",
    ]
    for row in data["rows"]:
        if "difference_ms" in row:
            clips = "1 clip" if row["clips"] == 1 else f"{row['clips']} clips"
            speedup = row[f"speedup_q{row['clips']}"]
            lines.append(
                f"| ms a track, {clips} | {row['difference_ms']:,.0f} | {row['product_ms']:,.0f} | {speedup:g} |"
            )
    rho = {
        case: rows[f"rank correlation, {case}"]["rho_fp64"]
        for case in ("finite difference fp32", "gradient product fp32", "gradient product bf16")
    }
    fp32, bf16 = rho["gradient product fp32"], rho["gradient product bf16"]
    lines.append(
        f"| least rank correlation to fp64 | {rho['finite difference fp32']:g} | fp32 {fp32:g}, bf16 {bf16:g} | |"
    )
    peaks = {row["case"]: row["peak_mb"] for row in data["rows"] if row["case"].startswith("peak memory")}
    product = next(case for case in peaks if "gradient product" in case)
    difference = product.replace("gradient product", "finite difference")
    label = product.replace(", gradient product", "")
    lines.append(f"| {label} | {peaks[difference]:,} MB | {peaks[product]:,} MB | |")
    clip = {key: rows[f"a new clip, {key}, computed"] for key in ("finite difference", "gradient product", "the index")}
    tracks, seconds = (
        clip["finite difference"]["tracks"],
        {key: f"{row['seconds']:,.0f} s" for key, row in clip.items()},
    )
    lines.append(
        f"| a new clip over {tracks} tracks, computed"
        f" | {seconds['finite difference']} | {seconds['gradient product']} | |"
    )
    measured = rows["a new clip, the index, measured"]
    whole = f"; `attribute` as a whole {measured['seconds']:g} s" if "seconds" in measured else ""
    lines.append(f"| the same by the index | | {seconds['the index']}{whole} | |")
    share = rows["share of the matmul rate, gradient product"]["share"]
    return "\n".join([*lines, f"| share of the machine's own matmul rate | | {share:.0%} | |"])


def _format_peers(data: Result) -> str:
    lines = [_describe_run(data, "raw products of gradients by other libraries, same rows"), ""]
    lines += ["| library | ms a row | rank correlation to fp64 | peak memory |", "|---|---|---|---|"]
    for row in data["rows"]:
        if "ms_a_row" in row:
            proved = "" if row["proved"] else " (not proved)"
            cells = f"{row['ms_a_row']:g} | {row['rho_fp64']:g}{proved} | {row['peak_mb']:,} MB"
        else:
            cells = f"{row['result'].replace('|', '/')} | | "
        lines.append(f"| {row['case']} | {cells} |")
    return "\n".join(lines)


def _format_gpu(data: Result) -> str:
    lines = [_describe_run(data, "1.06 billion parameters, random weights, bf16"), ""]
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


def _describe_run(data: Result, what: str) -> str:
    runs = "1 run" if data["repeats"] == 1 else f"medians of {data['repeats']} runs"
    return f"`{data['command']}`, {what}: {data['hardware']}; {runs}."


def _format_self_influence(data: Result) -> str:
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
    settings_rows = {(row["layers"], row["mask"], row["steps"]): row for row in data["rows"]}
    for (layers, mask, steps), row in settings_rows.items():
        if steps != 1:
            continue
        more = settings_rows.get((layers, mask, 4), {}).get("R")
        paper = ends = ""
        if "paper_R" in row:
            paper, ends = f"{row['paper_R']:,.1f}", f"{row['paper_top']:.2f} / {row['paper_bottom']:.2f}"
        moved = f"{row['frechet_before']:.3f}, {row['frechet']:.3f}" if "frechet" in row else ""
        own = f"{row['R']:.1f} | {'' if more is None else f'{more:.1f}'} | {paper}"
        lines.append(
            f"| {layers}, {mask} | {own} | {row['clap_top']:.2f} / {row['clap_bottom']:.2f} | {ends} | {moved} |"
        )
    ratios = [f"{row['rho']:.4f} at {row['relative_step']:g}" for row in data.get("finite_differences", ())]
    if ratios:
        lines += ["", f"Rank correlation with finite differences, by relative length of the step: {', '.join(ratios)}."]
    return "\n".join(lines)


def _format_agreement(data: Result) -> str:
    def pair(row: Result, name: str, form: str) -> str:
        return f"{row[f'{name}_raw']:{form}}, {row[f'{name}_norm']:{form}}" if f"{name}_raw" in row else ""

    clips = f"{data['weighted_clips']} clips"
    lines = [f"`{data['command']}`: {data['hardware']}. Where two figures stand: raw, normalised.", ""]
    lines += [
        "| method | Pearson with unlearning | the paper | its rankings of different clips |"
        f" decoys in the top 10 (chance {data['decoys_chance']:.0%}) | track above decoy |"
        f" weighted track above twin, {clips} | in the top 10 | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in data["table"]:
        pearson = f"{row['pearson_raw']:.2f}" if "pearson_raw" in row else ""
        paper = f"{row['paper']:.2f}" if "paper" in row else ""
        cells = [row["method"], pearson, paper, pair(row, "between_clips", ".2f"), pair(row, "decoys_top10", ".0%")]
        cells += [pair(row, "auc", ".2f"), pair(row, "weighted_above_twin", ".0%"), pair(row, "weighted_top10", ".0%")]
        lines.append(f"| {' | '.join(cells)} | {row['cost_s']:.0f} |")
    return "\n".join(lines)


def _format_planted(data: Result) -> str:
    """Rows of planted truths that the model card's tables do not hold."""
    rows = {(row["truth"], row["name"], row["method"], row["score"]): row for row in data["rows"]}
    methods = list(data["settings"]["methods"])
    measures = {
        ("rare", "alone_in_top10", ".0%"): "one rare piece alone among the ordinary tracks: in the first ten, heard",
        ("rare", "unheard_alone_in_top10", ".0%"): "… a piece of its style that was not heard",
        ("exemplars", "places_gained", ".1f"): "places that an exemplar gains by the tuning, within its caption",
    }
    lines = [f"`{data['command']}`: {data['hardware']}.", ""]
    lines += [f"| | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for (truth, name, form), label in measures.items():
        for score in ("raw", "normalised"):
            judged = [rows.get((truth, name, method, score)) for method in methods]
            cells = ["" if row is None else _format_interval(row, form) for row in judged]
            if any(cells):
                lines.append(f"| {label}, {score} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _format_interval(row: Result, form: str) -> str:
    if "low" not in row:
        return format(row["value"], form)
    low, high = (format(row[end], form).removesuffix("%") for end in ("low", "high"))
    return f"{row['value']:{form}} [{low}, {high}]"


def _format_retraining(data: Result) -> str:
    """LDS of every method; of other settings; the ceiling; what leaving the first works out did."""
    truths = {"whole_masked": "whole schedule", "noisy_masked": "noisier half"}
    cells = {(row["method"], row["setting"], row["value"], row["trainings"], row["truth"]): row for row in data["rows"]}
    lines = [f"`{data['command']}`: {data['what']}; {data['hardware']}.", ""]
    lines += [
        f"| method | LDS, {' | LDS, '.join(truths.values())} | less D-TRAK's | repeats at | s |",
        "|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(row["method"] for row in data["rows"] if not row["setting"]):
        own = [cells[method, "", "", "all", truth] for truth in truths]
        scores = " | ".join(_format_span(row, "lds", "low", "high") for row in own)
        less = _format_span(own[0], "difference", "difference_low", "difference_high")
        repeats = "" if own[0]["reliability"] is None else f"{own[0]['reliability']:.2f}"
        lines.append(f"| {method} | {scores} | {less} | {repeats} | {own[0]['seconds']:,.0f} |")
    for row in data["ceiling"]:
        if row["truth"] in truths:
            agreed = _format_span(row, "correlation", "low", "high")
            lines += [
                "",
                f"Two seeds agree at {agreed} over {row['halves']} halves ({truths[row['truth']]}): a method that",
            ]
            lines[-1] += f" knew the mean answer of all seeds would reach {row['attainable_lds']:.2f}."
    settings = [key for key in cells if key[1] and key[4] == "whole_masked"]
    if settings:
        lines += [
            "",
            f"| method | setting | trainings | LDS, {' | LDS, '.join(truths.values())} |",
            "|---|---|---|---|---|",
        ]
    for method, setting, value, trainings, _ in settings:
        own = [cells.get((method, setting, value, trainings, truth)) for truth in truths]
        scores = " | ".join("" if row is None else _format_span(row, "lds", "low", "high") for row in own)
        lines.append(f"| {method} | {setting} = {value} | {trainings} | {scores} |")
    if data["removals"]:
        lines += [
            "",
            "| measure | without the first works of | change | beyond random works | clips beyond |",
            "|---|---|---|---|---|",
        ]
    for row in data["removals"]:
        change, beyond = (
            _format_span(row, *names)
            for names in (("change", "low", "high"), ("beyond_random", "beyond_low", "beyond_high"))
        )
        count = f"{row['clips_beyond']} of {row['clips']}" if "clips_beyond" in row else ""
        lines.append(f"| {row['measure'].replace('_', ' ')} | {row['method']} | {change} | {beyond} | {count} |")
    return "\n".join(lines)


def _format_span(row: Result, value: str, low: str, high: str) -> str:
    """A value with its interval, two or more digits; '' where the row has none."""
    return f"{row[value]:.2g} [{row[low]:.2g}, {row[high]:.2g}]" if value in row else ""


def _format_recall(data: Result) -> str:
    lines = [f"`{data['command']}`: {data['hardware']}; {data['repeats']} clips.", ""]
    lines += [
        "| numbers a track | bytes a track | the ten strongest found | … by sketch alone | correlation with scores |",
        "|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        shares = f"{row['recall']:.1%} | {row['recall_alone']:.1%} | {row['rho']:.2f}"
        lines.append(f"| {row['width']:,} | {row['bytes_a_track']:,} | {shares} |")
    return "\n".join(lines)


def _format_search(data: Result) -> str:
    lines = [_describe_run(data, "made-up sketches"), ""]
    lines += ["| step | tracks | numbers a track | s | memory |", "|---|---|---|---|---|"]
    steps = {"search": "search for one clip", "judge": "fit the normalisation, before it"}
    for row in data["rows"]:
        size = f"{row['tracks']:,} | {row['width']:,}"
        lines.append(f"| {steps[row['case']]} | {size} | {row['seconds']:.1f} | {row['memory_mb']:,} MB |")
    return "\n".join(lines)


def _format_clews(data: Result) -> str:
    lines = [f"`{data['command']}`: {data['trained_works']} works; {data['hardware']}.", ""]
    lines += [
        "| works held out | renderings | mean average precision | untrained | by chance | parameters | file |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        precision = f"{row['map']:.2f} | {row['map_untrained']:.2f} | {row['map_chance']:.2f}"
        size = f"{row['parameters']:,} | {row['size_mb']:.1f} MB"
        lines.append(f"| {row['works']} | {row['renderings']} | {precision} | {size} |")
    return "\n".join(lines)


def _format_explorer(data: Result) -> str:
    rows = [row for row in data["rows"] if row.get("kind", "all") == "all"]
    start = next(row for row in rows if row["case"] == "start")
    lines = [
        f"`{data['command']}`: {data['hardware']}. The page opens {start['seconds']:.1f} s after the start of the"
        f" server, which then takes {start['memory_mb']:,} MB.",
        "",
        "| listeners | pause between selections | selections | median | 95 % within | errors | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row is not start:
            pause = f"{row['think_s']:g} s" if row["think_s"] else "none"
            times = f"{row['p50_ms']:,.0f} ms | {row['p95_ms']:,.0f} ms"
            load = f"{row['listeners']} | {pause} | {row['selections']:,}"
            lines.append(f"| {load} | {times} | {row['errors']} | {row['memory_mb']:,} MB |")
    return "\n".join(lines)


TABLES = {
    "diagnostics": {"demo-diagnostics": _format_diagnostics},
    "planted truths": {"demo-planted": _format_planted},
    "retraining": {"demo-retraining": _format_retraining},
    "experiments": {"demo-self-influence": _format_self_influence, "demo-agreement": _format_agreement},
    "benchmarks": {"pass": _format_pass, "peers": _format_peers, "gpu": _format_gpu},
    "index": {"index-recall": _format_recall, "index": _format_search},
    "clews": {"demo-clews": _format_clews},
    "explorer": {"explorer": _format_explorer},
}


def main() -> int:
    """Write, check or print the tables; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing; 1 where they differ")
    parser.add_argument("--print", action="store_true", help="show the tables, write nothing")
    options = parser.parse_args()
    results = read_results(FOLDER)
    if not results:
        print("table: no results here yet; `make bench` and `precompute evaluate` write them", file=sys.stderr)
        return 1
    tables = format_tables(results)
    if options.print:
        print("\n\n".join(tables.values()))
        return 0
    old = PAGE.read_text(encoding="utf-8")
    try:
        new = insert_tables(old, tables)
    except ValueError as error:
        print(f"table: {error}", file=sys.stderr)
        return 1
    if options.check:
        verdict = "agrees with assets/benchmarks" if old == new else "differs from the results: make bench-table"
        print(f"assets/README.md {verdict}")
        return int(old != new)
    PAGE.write_text(new, encoding="utf-8")
    print(f"assets/README.md: tables of {', '.join(results)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
