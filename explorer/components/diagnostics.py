"""Behind the scores: score against length, parts over the noise level, findings along training, settings and cost."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="study" hidden>
  <p class="subject soft"></p>
  <div class="two">
    <div class="half-of"><h3>Score against length</h3>
      <svg class="plot dots" role="img" aria-label="Score against length; summed up below"></svg>
      <p class="keys"><span class="above">above noise</span><span>training track</span>
        <span class="decoy">decoy</span></p>
      <p class="length soft"></p></div>
    <div class="half-of"><h3>The score's parts over t</h3>
      <p class="whose"></p>
      <div class="remarks soft"></div>
      <svg class="plot parts" role="img" aria-label="Parts of the score by noise level"></svg>
      <p class="about soft"></p></div>
  </div>
  <h3>Along training</h3>
  <form role="search" aria-label="Findings">
    <label class="field wide">Filter findings
      <input type="search" class="text find" placeholder="decoy, share, correlation" autocomplete="off"></label></form>
  <div class="scroll" role="region" aria-label="Findings along training" tabindex="0">
    <table class="findings" aria-label="Findings"><thead></thead><tbody></tbody></table></div>
  <p class="empty nothing" hidden></p>
  <h3>Settings and cost of the run</h3>
  <div class="settings"></div>
</div>
"""


class ScoreDiagnostics(PagePart):
    """Value: the dict of `MethodsPage.describe_diagnostics`. Event: `open` {clip_id, track_id}."""

    def __init__(self, **options: Any) -> None:
        super().__init__("diagnostics", _SKELETON, events=("open",), styles=("common",), **options)
