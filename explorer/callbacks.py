"""What the page does, without gradio: ids in, plain values out. What a browser sends is checked here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from explorer import charts, lanes, table
from explorer.audio import heard_s
from explorer.store import MAX_ID, Clip, Method, Store, StoreEmptyError, UnknownIdError

CAVEAT = (
    "The error after ± covers noise draws, not retraining. A normalised score compares the raw one with the "
    "same track's scores for other clips, then with other tracks for this clip. q is the rate of false "
    "discoveries, measured on decoys: tracks that the model never heard."
)
_PROMPT_CHARS = 90


class BadEventError(ValueError):
    """A browser sent something that is no id of this store."""


@dataclass(frozen=True)
class View:
    """What the address of the page names. Every field was checked against the store."""

    clip_id: int
    method: Method
    track_id: int | None  # the chosen track; None where the clip has no scores
    order: str = charts.NORMALISED
    decoys: bool = False  # list decoys in the table


@dataclass(frozen=True)
class Page:
    """A view, rendered: one plain value for each component."""

    view: View
    verdict: list[str]
    player: dict[str, Any]
    curve: dict[str, Any]
    summary: list[str]
    table: dict[str, Any]
    link: str  # query string of this view


def parse_id(value: object) -> int:
    """An id from a browser (number or digits). Raises BadEventError."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise BadEventError("this is not an id")
    return value


def clip_label(clip: Clip) -> str:
    """The clip in the list of clips."""
    if clip.kind == "track":
        return f"Control {clip.clip_id} · {clip.target_title}"
    name = "Generated clip" if clip.kind == "generated" else "Your clip"
    prompt = clip.prompt or "no prompt"
    short = prompt if len(prompt) <= _PROMPT_CHARS else prompt[: _PROMPT_CHARS - 1] + "…"
    return f"{name} {clip.clip_id} · {short}"


def clip_note(clip: Clip) -> str:
    kind = {
        "generated": "generated clip",
        "user": "your clip",
        "track": "control: a training track unlearned itself; it should find itself first",
    }[clip.kind]
    seed = f"seed {clip.seed}" if clip.seed is not None else ""
    return " · ".join(part for part in (kind, f"{clip.duration_s:.1f} s", seed) if part)


class Callbacks:
    """Answers the page's events from one store. Holds no state of a listener. Raises StoreEmptyError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.methods = store.methods()
        self.clips = store.clips()
        if not self.methods or not self.clips:
            raise StoreEmptyError(f"{store.path} holds no scored clip yet: run the attribution first")
        self._method_by_name = {method.name: method for method in self.methods}
        self._clip_ids = {clip.clip_id for clip in self.clips}

    def view_of(self, query: Mapping[str, str]) -> View:
        """The view that an address names; what is missing or not of this store gets a default."""
        view = View(self.clips[0].clip_id, self.methods[0], None)
        if method := self._method_by_name.get(query.get("method", "")):
            view = replace(view, method=method)
        order = charts.RAW if query.get("scores") == "raw" else charts.NORMALISED
        view = replace(view, order=order, decoys=query.get("decoys") == "1")
        try:
            view = replace(view, clip_id=self._clip(query.get("clip")))
            return self._with_track(view, query.get("track"))
        except BadEventError:
            return self._with_first_track(view)

    def choose_clip(self, clip: object, method: object, order: object, decoys: object) -> View:
        """Another clip: its strongest training track is chosen. Raises BadEventError."""
        return self._with_first_track(self._controls(clip, method, order, decoys))

    def choose(self, clip: object, method: object, order: object, decoys: object, track: object) -> View:
        """Another method, order or track. A track that was not scored gives way to the strongest one.

        Raises BadEventError.
        """
        return self._with_track(self._controls(clip, method, order, decoys), track)

    def _controls(self, clip: object, method: object, order: object, decoys: object) -> View:
        if not isinstance(method, str) or method not in self._method_by_name:
            raise BadEventError("this store has no such method")
        if order not in (charts.NORMALISED, charts.RAW):
            raise BadEventError("there is no such order")
        return View(self._clip(clip), self._method_by_name[method], None, str(order), decoys is True)

    def _clip(self, clip: object) -> int:
        clip_id = parse_id(clip)
        if clip_id not in self._clip_ids:
            raise BadEventError("this store has no such clip")
        return clip_id

    def _with_track(self, view: View, track: object) -> View:
        try:
            track_id = self.store.track(parse_id(track)).track_id
        except (BadEventError, UnknownIdError):
            return self._with_first_track(view)
        return replace(view, track_id=track_id) if self._scored(view, track_id) else self._with_first_track(view)

    def _scored(self, view: View, track_id: int) -> bool:
        return bool((self._scores(view)["track_id"] == track_id).any())

    def _with_first_track(self, view: View) -> View:
        scores = self._scores(view)
        first = scores.loc[scores["train_rank"] == 1, "track_id"]
        return replace(view, track_id=None if first.empty else int(first.iloc[0]))

    def _scores(self, view: View) -> pd.DataFrame:
        return self.store.scores(view.method.method_id, view.clip_id)

    def page(self, view: View) -> Page:
        scores = self._scores(view)
        clip = self.store.clip(view.clip_id)
        rows = table.top(scores, view.order, view.decoys)
        places = charts.ordered(scores, view.order).head(charts.EVERY_PLACE_TO)
        tracks = self.store.tracks([int(i) for i in {*rows["track_id"], *places["track_id"]}])
        titles = {track_id: track.title for track_id, track in tracks.items()}
        verdict = [charts.verdict(scores)]
        if clip.target_track_id is not None:
            verdict.append(charts.control(scores, clip.target_track_id, clip.target_title or ""))
        return Page(
            view=view,
            verdict=verdict,
            player=self.player(view),
            curve=charts.curve(scores, view.order, titles, view.track_id),
            summary=[charts.summary(scores, view.order)],
            table=table.table(rows, tracks),
            link=self.link(view),
        )

    def link(self, view: View) -> str:
        """The query string that `view_of` reads back."""
        parts: dict[str, object] = {"clip": view.clip_id, "method": view.method.name}
        if view.track_id is not None:
            parts["track"] = view.track_id
        if view.order == charts.RAW:
            parts["scores"] = "raw"
        if view.decoys:
            parts["decoys"] = 1
        return urlencode(parts)

    def player(self, view: View) -> dict[str, Any]:
        """Two lanes: the clip, and the chosen track (None where there is none)."""
        clip = self.store.clip(view.clip_id)
        clip_sound = self.store.clip_sound(view.clip_id)
        clip_title = clip.prompt or clip.target_title or "no prompt"
        url = f"/audio/clip/{view.clip_id}"
        if view.track_id is None:
            (gain,) = lanes.matched_gains([clip_sound])
            return {"clip": lanes.lane(url, clip_title, clip_note(clip), clip_sound, gain), "track": None}
        track = self.store.track(view.track_id)
        sound = self.store.track_sound(view.track_id)
        gains = lanes.matched_gains([clip_sound, sound])
        scores = self._scores(view)
        row = scores[scores["track_id"] == view.track_id].iloc[0]
        above = bool(row["above_noise"]) and not track.is_decoy
        place = "" if pd.isna(row["train_rank"]) else f"number {int(row['train_rank']):,} by normalised score, "
        note = f"{track.composer} · {place}{table.badge(track.is_decoy, above)}"
        lane = lanes.lane(f"/audio/track/{view.track_id}", track.title, note, sound, gains[1])
        moments = self.store.moments(view.method.method_id, view.clip_id, view.track_id)
        if moments is not None and heard_s(sound) > 0 and lane["refused"] is None:
            lane["strip"] = lanes.strip(moments, sound, above)
        return {"clip": lanes.lane(url, clip_title, clip_note(clip), clip_sound, gains[0]), "track": lane}

    def about(self, view: View) -> list[str]:
        """What the run found about itself, for the method on show: a line a finding, along training where known."""
        found = self.store.diagnostics(view.method.method_id)
        lines = {item.name: f"{item.meaning}: " for item in found}
        several = len({item.checkpoint_step for item in found}) > 1
        for item in found:
            step = f" (step {item.checkpoint_step:,})" if several else ""
            joint = "" if lines[item.name].endswith(": ") else " → "
            lines[item.name] += f"{joint}{item.value:.3g}{step}"
        return [view.method.description, *lines.values()]
