"""The clip and the chosen track: heard each alone, or one after the other."""

from __future__ import annotations

from typing import Any

from explorer.components import Part

_LANE = """
<section class="lane" data-lane="{lane}" aria-label="{label}">
  <div class="head">
    <button type="button" class="play" aria-pressed="false">Play {lane}</button>
    <div class="text"><strong class="title"></strong><span class="note"></span></div>
    <span class="clock"></span>
  </div>
  <div class="wave" tabindex="0" role="slider" aria-label="Position in the {lane}" aria-valuemin="0">
    <canvas></canvas>
  </div>
  <div class="below"></div>
  <audio preload="none"></audio>
</section>
"""
_SKELETON = f"""
<div class="player" role="group" aria-label="Listen">
  <div class="bar">
    <button type="button" class="both primary" aria-pressed="false">Hear both, one after the other</button>
    <label class="match"><input type="checkbox" checked> Match loudness</label>
    <span class="status" role="status"></span>
  </div>
  {_LANE.format(lane="clip", label="Clip")}
  {_LANE.format(lane="track", label="Chosen track")}
</div>
"""


class Audition(Part):
    """Value: the dict of `Callbacks.player`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("player", _SKELETON, **options)
