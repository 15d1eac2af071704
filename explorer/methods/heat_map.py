"""The heat map of agreement between methods, as plotly's JSON. No gradio."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from explorer.store.records import Agreement, MethodRecord
from explorer.text.comparison import MEASURE_NAMES
from explorer.text.numbers import format_signed

_COLOURS = {  # by whether a measure has negative values
    True: [[0.0, "#b45309"], [0.5, "#f5f5f4"], [1.0, "#0f766e"]],  # from reversed over unrelated to the same
    False: [[0.0, "#f5f5f4"], [1.0, "#0f766e"]],
}


def draw_heat_map(methods: Sequence[MethodRecord], agreements: Sequence[Agreement], measure: str) -> str | None:
    """The heat map of one of MEASURE_NAMES as plotly's JSON; None without two methods that can be compared."""
    import plotly.graph_objects as go  # late: 0.3 s and 30 MB, only when the tab is opened

    if not agreements:
        return None
    by_pair = {(one.method_a, one.method_b): one for one in agreements}
    ids, labels = [m.method_id for m in methods], [html.escape(m.label[:40]) for m in methods]
    cells: list[list[float | None]] = [
        [None if a == b else _read_cell(by_pair, a, b, measure) for b in ids] for a in ids
    ]
    text = [["" if value is None else format_signed(value, 2) for value in row] for row in cells]
    details = [["" if a == b else _word_detail(by_pair.get((a, b))) for b in ids] for a in ids]
    low = -1.0 if measure in ("spearman", "pearson") else 0.0
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x=labels,
            y=labels,
            text=text,
            customdata=details,
            texttemplate="%{text}",
            hovertemplate="%{y} and %{x}<br>%{customdata}<extra></extra>",
            zmin=low,
            zmax=1.0,
            colorscale=_COLOURS[low < 0],
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": ""}, "thickness": 12, "len": 0.9, "outlinewidth": 0},
            hoverongaps=False,
        )
    )
    figure.update_layout(
        template=None,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=max(240, 110 + 46 * len(methods)),
        font={"family": "Inter, system-ui, sans-serif", "size": 13},
        xaxis={"automargin": True, "showgrid": False, "zeroline": False, "fixedrange": True, "side": "bottom"},
        yaxis={"automargin": True, "showgrid": False, "zeroline": False, "fixedrange": True, "autorange": "reversed"},
    )
    return str(figure.to_json())


def _read_cell(by_pair: Mapping[tuple[int, int], Agreement], a: int, b: int, measure: str) -> float | None:
    one = by_pair.get((a, b))
    return None if one is None else round(float(getattr(one, measure)), 4)


def _word_detail(one: Agreement | None) -> str:
    """All measures of a pair, shown where the pointer rests on its cell."""
    if one is None:
        return "not compared"
    return "<br>".join(f"{name}: {format_signed(getattr(one, measure), 2)}" for measure, name in MEASURE_NAMES.items())
