"""The heat map of agreement."""

from __future__ import annotations

import json

from explorer.methods.heat_map import draw_heat_map
from explorer.store.records import Agreement, MethodRecord

A, B = MethodRecord(1, "a", "Method <b>A</b>", "", True), MethodRecord(2, "b", "Method B", "", True)


def test_the_heat_map_holds_every_pair_and_no_markup():
    pair = [Agreement(1, 2, 0.9, 0.5, 0.2, 0.4), Agreement(2, 1, 0.9, 0.5, 0.2, 0.4)]
    plot = draw_heat_map([A, B], pair, "spearman")
    assert plot is not None and "<b>A</b>" not in plot and len(plot) < 10_000
    cells = json.loads(plot)["data"][0]
    assert cells["z"] == [[None, 0.5], [0.5, None]] and cells["zmin"] == -1
    top10 = json.loads(draw_heat_map([A, B], pair, "top10") or "")["data"][0]
    assert top10["z"][0][1] == 0.2 and top10["zmin"] == 0
    assert draw_heat_map([A], [], "spearman") is None
