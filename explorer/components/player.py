"""The clip and up to eight tracks on one transport: one is heard, all run, a switch only moves gains."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_KEYS = (
    ("Space", "play, pause"),
    ("0 or C", "listen to the clip"),
    ("1 … 8", "listen to that track"),
    ("X", "clip and track back to back, again and again"),
    ("← →", "one second back, on (on a waveform too)"),
    ("Home", "to the beginning of the passage"),
    ("[ ]", "a passage from here, to here, on the lane that is heard"),
    ("L", "loop on, off"),
    ("Esc", "clear loop and span"),
    ("S", "tracks from their beginning, or from their most influential moment"),
    ("M", "matched loudness on, off"),
    ("G", "waveform, spectrogram"),
    ("+ −", "zoom"),
    ("?", "this list"),
)
_LANE = """
<template class="lane-template">
  <section class="lane">
    <div class="head">
      <button type="button" class="listen" aria-pressed="false"><span class="digit"></span></button>
      <div class="what">
        <strong class="title"></strong>
        <span class="note"></span>
        <span class="facts"><span class="chip"></span><span class="place"></span><span class="gain"></span></span>
      </div>
      <button type="button" class="drop" title="Take this track out of the player">✕</button>
    </div>
    <div class="scene">
      <canvas class="strip" height="8" aria-hidden="true"></canvas>
      <div class="wave" tabindex="0" role="slider" aria-valuemin="0">
        <canvas aria-hidden="true"></canvas>
        <div class="region" hidden></div>
        <div class="playhead"></div>
      </div>
      <p class="why" hidden></p>
    </div>
    <span class="clock" aria-hidden="true"></span>
  </section>
</template>
"""
_SKELETON = f"""
<div class="player" role="group" aria-label="Listen">
  <div class="bar">
    <button type="button" class="play primary" aria-pressed="false">Play</button>
    <button type="button" class="alternate" aria-pressed="false">Clip ⇄ track</button>
    <span class="clock" aria-hidden="true">0:00.0</span>
    <fieldset class="starts">
      <legend>Tracks start</legend>
      <label><input type="radio" name="whence-start" value="clock" checked> on the same clock</label>
      <label><input type="radio" name="whence-start" value="moment"> at their most influential moment</label>
    </fieldset>
    <span class="more">
      <label class="volume">Volume <input type="range" min="0" max="100" value="100" step="1"></label>
      <button type="button" class="help" aria-haspopup="dialog" title="Keys">?</button>
    </span>
  </div>
  <div class="bar second">
    <label class="toggle match"><input type="checkbox" checked> match loudness</label>
    <label class="toggle repeat"><input type="checkbox"> loop</label>
    <label class="toggle picture"><input type="checkbox"> spectrogram</label>
    <span class="zoom" role="group" aria-label="Zoom">
      <button type="button" class="out" aria-label="Zoom out">−</button><output>1×</output>
      <button type="button" class="in" aria-label="Zoom in">+</button>
    </span>
    <span class="passage"><span class="words"></span>
      <button type="button" class="clear" hidden>Clear</button></span>
  </div>
  <p class="status" role="status"></p>
  <div class="lanes"></div>
  <p class="legend"></p>
  {_LANE}
  <dialog class="keys" aria-label="Keys">
    <h3>Keys</h3>
    <dl>{"".join(f"<dt>{key}</dt><dd>{text}</dd>" for key, text in _KEYS)}</dl>
    <p>Drag over a waveform to loop a passage. A passage of the clip also ranks the tracks again, for the windows of
      the clip that it touches.</p>
    <button type="button" class="close primary">Close</button>
  </dialog>
</div>
"""


class Player(PagePart):
    """Value: the dict of `ListenPage.describe_player`.

    Events: `span` {from_s, to_s, start} or {}, `drop` {track_id}.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("player", _SKELETON, events=("span", "drop"), **options)
