"""Rights holders: groups by lift over chance, first questions, and where one group's tracks come up."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart

_SKELETON = """
<div class="holders">
  <form class="ask" role="search" aria-label="Rights holders">
    <label class="field">Group by <select class="grouping"></select></label>
    <label class="field">A track comes up where it is <select class="count"></select></label>
    <label class="field methods">Method <select class="method"></select></label>
    <label class="field wide">Find a name
      <input type="search" class="find" maxlength="200" placeholder="words of a name" autocomplete="off"
        spellcheck="false"></label>
  </form>
  <p class="found" role="status"></p>
  <p class="note"></p>
  <p class="unknown" role="status"></p>
  <section class="chosen" aria-labelledby="holders-chosen">
    <div class="head"><h3 id="holders-chosen" tabindex="-1"></h3>
      <button type="button" class="leave">all groups</button></div>
    <div class="result"></div>
    <div class="downloads"></div>
    <div class="catalogue">
      <button type="button" class="unlearn" aria-expanded="false" aria-controls="holders-catalogue"></button>
      <div class="whole" id="holders-catalogue" role="status"></div>
      <div class="scroll effects" role="region" aria-label="The whole catalogue, clip by clip" tabindex="0">
        <table><thead></thead><tbody></tbody></table>
      </div>
      <p class="left-out"></p>
    </div>
  </section>
  <div class="questions"></div>
  <section class="where" aria-labelledby="holders-where">
    <div class="line"><h3 id="holders-where"></h3>
      <label class="field within">Filter these rows
        <input type="search" class="sift" maxlength="200" placeholder="title, composer, clip" autocomplete="off"
          spellcheck="false"></label>
      <div class="pages" role="group" aria-label="Pages of rows">
        <button type="button" class="back">previous</button><button type="button" class="on">next</button></div></div>
    <ul class="pairs"></ul>
    <p class="empty"></p>
  </section>
  <section class="all" aria-labelledby="holders-all">
    <div class="line"><h3 id="holders-all"></h3>
      <div class="pages" role="group" aria-label="Pages of groups">
        <button type="button" class="back">previous</button><button type="button" class="on">next</button></div></div>
    <div class="why"></div>
    <div class="scroll" role="region" aria-label="Groups by lift over chance" tabindex="0">
      <table><thead></thead><tbody></tbody></table>
    </div>
    <p class="empty">No group matches.</p>
  </section>
</div>
"""


class HolderList(PagePart):
    """Value: the dict of `HoldersPage.describe_holders`, or None while another tab is open.

    Events: `ask`, the fields of HolderQuery; `switch`, {method}; `hear`, a pair and where (see EventHandler.hear_pair).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("holders", _SKELETON, events=("ask", "hear", "switch"), **options)
