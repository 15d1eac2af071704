"""A clip of the listener's own: words or a file, and how far the work on it has come."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="own">
  <p>Name a clip, and the training tracks that shaped it are looked for: the nearest by exact scores, all others by
    estimates. It takes a minute or two, one clip at a time. The clip stays in this store, for all who may listen.</p>
  <form class="words">
    <label class="field wide">Words for a new clip
      <input type="text" class="prompt" maxlength="500" autocomplete="off"
        placeholder="a slow waltz on solo piano"></label>
    <button type="submit" class="primary" disabled>Make it and find its tracks</button>
  </form>
  <form class="sound">
    <label class="field">Or an audio file, up to 20 MB
      <input type="file" class="file" accept=".wav,.flac,.mp3,.ogg,.aif,.aiff,audio/*"></label>
    <label class="field wide">What it is, in words (may stay empty)
      <input type="text" class="caption" maxlength="500" autocomplete="off"></label>
    <button type="submit" disabled>Find its tracks</button>
  </form>
  <p class="state" role="status"></p>
  <button type="button" class="open" hidden>Open the clip</button>
</div>
"""


class ClipForm(PagePart):
    """Has no value: the script speaks with /attribute/… and opens the page anew when a clip is done."""

    def __init__(self, **options: Any) -> None:
        super().__init__("form", _SKELETON, **options)
