"""Influence score by place, both on log axes, the decoys as a second curve; a click, or keys, choose a track."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="curve">
  <ul class="legend" aria-label="Legend">
    <li data-key="out"><i class="key out"></i><span></span></li>
    <li data-key="rest"><i class="key rest"></i><span></span></li>
    <li data-key="decoy"><i class="key decoy"></i><span></span></li>
    <li data-key="none"><span></span></li>
  </ul>
  <div class="figure">
    <svg class="plot" tabindex="0" role="slider" aria-label="Influence score by place"
      aria-valuemin="1" aria-describedby="curve-keys"></svg>
  </div>
  <div class="under">
    <p class="readout"></p>
    <div class="steps" role="group" aria-label="Choose by place">
      <div class="kinds" role="group" aria-label="Which curve">
        <button type="button" class="kind" data-decoy="false" aria-pressed="true">tracks</button>
        <button type="button" class="kind" data-decoy="true" aria-pressed="false">decoys</button>
      </div>
      <button type="button" class="previous">previous</button>
      <button type="button" class="next">next</button>
      <span class="number">
        <label>place <input type="number" class="place" min="1" step="1" inputmode="numeric"></label>
        <span class="last"></span>
      </span>
      <button type="button" class="take">into the player</button>
    </div>
    <div class="held" role="group" aria-labelledby="curve-of">
      <p class="of" id="curve-of">share of the positive score</p>
      <ul class="shares"></ul>
    </div>
    <p class="caption"></p>
    <p class="keys" id="curve-keys">Keys on the curve: arrows one place, Page Up and Page Down ten, Home and End,
      <kbd>d</kbd> between tracks and decoys, Enter puts the marked one into the player.</p>
  </div>
</div>
"""


class ScoreCurve(PagePart):
    """Value: the dict of `charts.describe_curve`. Event: `pick` {place, decoy}, a place among tracks or decoys."""

    def __init__(self, **options: Any) -> None:
        super().__init__("curve", _SKELETON, events=("pick",), **options)
