"""The track in focus: how alike it and the clip sound, passages that come close, and a note on it."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="study" hidden>
  <div class="inside">
    <p class="title" style="font-weight: 600"></p>
    <div class="remarks soft"></div>
    <div class="two">
      <div class="half-of">
        <h3>Does it sound alike?</h3>
        <div class="bars"></div>
        <p class="missing soft"></p>
        <p class="legend soft">Percentile among random pairs of clip and track: 50, the dotted line, is what chance
          gives. Alike is not influence: the scores know nothing of these bars.</p>
      </div>
      <div class="half-of">
        <h3>Is anything copied?</h3>
        <ul class="passages"></ul>
        <p class="copied soft"></p>
      </div>
    </div>
    <div class="jot">
      <label class="field">Note on this track, for this clip and method (kept in this browser alone)
        <textarea class="text" rows="2" maxlength="4000"></textarea></label>
      <div class="row"><button type="button" class="action save" disabled>Keep note</button>
        <span class="said soft" role="status"></span></div>
    </div>
  </div>
  <p class="nothing" hidden>No track is in the player: choose one on the curve or in the table.</p>
</div>
"""


class TrackResemblance(PagePart):
    """Value: the dict of `ListenPage.describe_resemblance`.

    The player plays a passage at the window event `whence:passage`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("resemblance", _SKELETON, styles=("common",), **options)
