"""Lists of hard cases, where scores look wrong: a page at a time, each row a way to hear the case."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="study" hidden>
  <form role="search" aria-label="Hard cases">
    <label class="field wide">List <select class="kind"></select></label>
    <label class="field">Method <select class="method"></select></label>
    <label class="field">High up means <select class="first"></select></label>
    <label class="field wide">Filter cases
      <input type="search" class="text find" maxlength="200" placeholder="title, composer, collection, clip"
        autocomplete="off" spellcheck="false"></label>
  </form>
  <p class="about"></p>
  <div class="line">
    <p class="count" role="status"></p>
    <div class="row">
      <button type="button" class="action export">Export this page (CSV)</button>
      <div class="pages" role="group" aria-label="Pages of cases">
        <button type="button" class="action back">previous</button>
        <button type="button" class="action on">next</button>
      </div>
    </div>
  </div>
  <div class="scroll" role="region" aria-label="Table of hard cases" tabindex="0">
    <table aria-label="Hard cases"><thead></thead><tbody></tbody></table></div>
  <p class="nothing" hidden></p>
</div>
"""


class HardCases(PagePart):
    """Value: the dict of `MethodsPage.describe_cases`.

    Events: `ask` {method, kind, first, text, offset}; `open`, see EventHandler.open_case.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("hard_cases", _SKELETON, events=("ask", "open"), styles=("common",), **options)
