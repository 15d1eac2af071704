"""All clips side by side: how much of each is above noise, how concentrated it is, and one line of its scores."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="clips">
  <form class="ask" role="search" aria-label="Clips">
    <label class="field wide">Filter clips
      <input type="search" class="text" placeholder="words of a prompt or a title" autocomplete="off"
        spellcheck="false"></label>
    <label class="field">Sort clips by
      <select class="sort">
        <option value="clip">clip</option>
        <option value="above">tracks above noise</option>
        <option value="share">concentration</option>
      </select></label>
    <p class="count" role="status"></p>
  </form>
  <ul class="cards made"></ul>
  <button type="button" class="more"></button>
  <details class="controls">
    <summary></summary>
    <p class="about">A control is a training track that was unlearned itself: it should find itself first.</p>
    <ul class="cards known"></ul>
  </details>
  <div class="empty"><p>No clip matches.</p><button type="button" class="clear">Clear the filter</button></div>
  <p class="legend">Lines: normalised score from the strongest track to the weakest, places on a log axis, all on one
    square-root scale; the thin line is zero. “Top 10 hold”: their share of the positive score.</p>
</div>
"""


class ClipOverview(PagePart):
    """Value: the dict of `overview.describe_clips`. Event `open`: {clip_id}."""

    def __init__(self, **options: Any) -> None:
        super().__init__("overview", _SKELETON, events=("open",), **options)
