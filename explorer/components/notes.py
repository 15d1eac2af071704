"""The notes of this browser on tracks and cases."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="study" hidden>
  <form class="row" role="search" aria-label="Notes">
    <label class="field wide">Filter notes
      <input type="search" class="text find" placeholder="words of a note or a title" autocomplete="off"></label>
    <p class="count" role="status"></p>
    <button type="button" class="action export">Export notes (CSV)</button>
  </form>
  <ul class="list"></ul>
  <p class="nothing" hidden></p>
  <p class="soft">Notes stay in this browser: nobody else sees them, and clearing its data deletes them.</p>
</div>
"""


class NoteList(PagePart):
    """Value: the dict of `MethodsPage.describe_notes`. Event: `open` {clip_id, track_id, method, tab}."""

    def __init__(self, **options: Any) -> None:
        super().__init__("notes", _SKELETON, events=("open",), styles=("common",), **options)
