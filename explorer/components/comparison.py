"""Two methods on one clip: their strongest tracks side by side, and places by one against places by the other."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="study" hidden>
  <form aria-label="What is compared">
    <label class="field wide">Clip <select class="clip"></select></label>
    <label class="field">First method <select class="first"></select></label>
    <label class="field">Second method <select class="second"></select></label>
    <label class="field">Agreement below <select class="measure"></select></label>
    <label class="field wide">Filter tracks
      <input type="search" class="text find" placeholder="title, composer, collection" autocomplete="off"></label>
  </form>
  <div class="lines" role="status"></div>
  <div class="sides">
    <div class="left"><h3></h3><p class="own soft"></p><ol></ol><p class="empty soft"></p></div>
    <svg class="links" aria-hidden="true"></svg>
    <div class="right"><h3></h3><p class="own soft"></p><ol></ol><p class="empty soft"></p></div>
  </div>
  <div class="dots"><h3>Place by one method, place by the other</h3>
    <svg class="plot" role="img" aria-label="Scatter of places; the lists above name the strongest tracks"></svg></div>
  <p class="keys"><span>training track</span><span class="decoy">decoy, at the place it would take</span></p>
</div>
"""


class MethodComparison(PagePart):
    """Value: the dict of `MethodsPage.describe_comparison`.

    Events: `choose` {clip_id | method | versus | measure}; `open`, see EventHandler.open_case.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("comparison", _SKELETON, events=("choose", "open"), styles=("common",), **options)
