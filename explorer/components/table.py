"""The tracks of a clip, a page of 100 at a time: filtered and sorted by the server, each row a way to hear one."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="tracks">
  <form class="ask" role="search" aria-label="Tracks">
    <label class="field wide">Filter
      <input type="search" class="text" maxlength="200" placeholder="title, composer, holder, source"
        autocomplete="off" spellcheck="false"></label>
    <label class="field">Collection
      <select class="collection"><option value="">all collections</option></select></label>
    <label class="field narrow">Sort by <select class="sort"></select></label>
    <label class="check"><input type="checkbox" class="above"> <span>only above noise</span></label>
    <label class="check"><input type="checkbox" class="decoys"> <span>show decoys</span></label>
    <label class="check"><input type="checkbox" class="works"> <span>one row a work</span></label>
  </form>
  <div class="line">
    <p class="count" role="status"></p>
    <div class="pages" role="group" aria-label="Pages">
      <button type="button" class="back">previous 100</button>
      <button type="button" class="on">next 100</button>
    </div>
  </div>
  <div class="scroll" role="region" aria-label="Table of tracks" tabindex="0">
    <table role="table" aria-label="Tracks"><thead role="rowgroup"></thead><tbody role="rowgroup"></tbody></table>
  </div>
  <div class="empty"><p></p><button type="button" class="clear">Clear filters</button></div>
</div>
"""


class TrackTable(PagePart):
    """Value: the dict of `ListenPage.compact_table`.

    Events: `choose` {track_id, play}; `ask`, the fields of TableQuery.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("table", _SKELETON, events=("choose", "ask"), **options)
