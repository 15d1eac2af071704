"""Influence score by place, decoys marked; a click, or arrows and Enter, choose a track."""

from __future__ import annotations

from typing import Any

from explorer.components import Part

_SKELETON = """
<div class="legend" aria-hidden="true">
  <span><i class="key above"></i>above noise</span>
  <span><i class="key noise"></i>not distinguishable from noise</span>
  <span><i class="key decoy"></i>decoy, never heard by the model</span>
</div>
<svg class="plot" tabindex="0" role="slider" aria-label="Influence score by place: arrows move, Enter chooses"
  aria-valuemin="1"></svg>
<p class="readout" aria-live="polite"></p>
"""


class ScoreCurve(Part):
    """Value: the dict of `charts.curve`. Event `pick`: {track_id}."""

    def __init__(self, **options: Any) -> None:
        super().__init__("curve", _SKELETON, events=("pick",), **options)
