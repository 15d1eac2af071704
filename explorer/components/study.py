"""The parts for researchers: two methods side by side, why a track, hard cases, what lies behind, notes."""

from __future__ import annotations

from typing import Any

from explorer.components import Part

_COMMON = ("common",)
_COMPARE = """
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
_METHODS = """
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
_WHY = """
<div class="study" hidden>
  <div class="inside">
    <p class="title" style="font-weight: 600"></p>
    <div class="named soft"></div>
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
_CASES = """
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
_BEHIND = """
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
      <div class="named soft"></div>
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
_NOTES = """
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


class Comparison(Part):
    """Value: `Study.compare`. Events `choose`: {clip_id | method | versus | measure}; `open` as of Cases."""

    def __init__(self, **options: Any) -> None:
        super().__init__("compare", _COMPARE, events=("choose", "open"), styles=_COMMON, **options)


class Methods(Part):
    """Value: `Study.methods`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("methods", _METHODS, styles=_COMMON, **options)


class Why(Part):
    """Value: `Study.why`. The player plays a passage at the window's event `whence:passage`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("why", _WHY, styles=_COMMON, **options)


class Cases(Part):
    """Value: `Study.cases`. Events `ask`: {method, kind, first, text, offset}; `open`: of Callbacks.open_case."""

    def __init__(self, **options: Any) -> None:
        super().__init__("cases", _CASES, events=("ask", "open"), styles=_COMMON, **options)


class Behind(Part):
    """Value: `Study.behind`. Event `open`: {clip_id, track_id}."""

    def __init__(self, **options: Any) -> None:
        super().__init__("behind", _BEHIND, events=("open",), styles=_COMMON, **options)


class Notes(Part):
    """Value: `Study.notes`. Event `open`: {clip_id, track_id, method, tab}."""

    def __init__(self, **options: Any) -> None:
        super().__init__("notes", _NOTES, events=("open",), styles=_COMMON, **options)
