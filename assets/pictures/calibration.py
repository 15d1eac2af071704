"""Draw calibration.png: how often decoys that play tracks reach a p-value, from the kept result of the calibration.

`python assets/pictures/calibration.py`. On the diagonal the test is exact, below it careful, above it
careless.
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
RESULT = HERE.parent / "benchmarks/demo-calibration.json"
BINS = {"caption_curve": "same caption as the clip", "style_curve": "same style"}
COLOURS = ("#3b6fb6", "#c8553d", "#4b9560", "#8a6fae", "#b58b2a")


def draw_calibration(result: Path, out: Path) -> None:
    """One panel for each match bin, one line for each method of a calibration's result file."""
    data = json.loads(result.read_text(encoding="utf-8"))
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panels = figure.subplots(1, len(BINS), sharey=True)
    for panel, (column, title) in zip(panels, BINS.items(), strict=True):
        top = max(data["curve"])
        panel.plot([0, top], [0, top], color="0.6", linewidth=1, linestyle="--")
        for row, colour in zip(data["rows"], COLOURS, strict=False):
            panel.plot(data["curve"], row[column], color=colour, linewidth=1.6, label=row["method"])
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("p-value")
        panel.set_xlim(0, top)
        panel.set_ylim(0, None)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of decoys with at most this p-value")
    panels[0].legend(frameon=False, fontsize=9)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw_calibration(RESULT, HERE / "calibration.png")
