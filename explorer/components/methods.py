"""Every method: what it is, what it costs and how it did; and those that could not run."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="study" hidden>
  <form class="row" role="search" aria-label="Methods">
    <label class="field wide">Filter methods
      <input type="search" class="text find" placeholder="name or words of its record" autocomplete="off"></label>
    <p class="count" role="status"></p>
  </form>
  <ul class="list"></ul>
  <h3>Asked for, but could not run</h3>
  <ul class="skipped"></ul>
</div>
"""


class MethodList(PagePart):
    """Value: the dict of `MethodsPage.describe_methods`. No events."""

    def __init__(self, **options: Any) -> None:
        super().__init__("methods", _SKELETON, styles=("common",), **options)
