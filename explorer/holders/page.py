"""A view -> what holders.js shows: plain values, below 50 kB whatever the store holds. No gradio."""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import urlencode

import numpy as np

from explorer.holders.pairs import PairDetails, is_audible, read_pairs
from explorer.sound.permission import explain_refusal
from explorer.state.queries import HOLDER_GROUPS, HOLDER_PAIRS, HolderQuery
from explorer.state.store_views import StoreViews
from explorer.state.view import View
from explorer.store.catalogue import METHOD, CatalogueEffect, CatalogueTest, judge_catalogue
from explorer.store.holders import ANY_ROLE, COLLECTION
from explorer.store.lift import Groups, classify_lift
from explorer.store.records import ClipRecord, CopiedPassage
from explorer.text import holders
from explorer.text.claims import ABOVE, ABOVE_TEXT, NOISE, NOISE_TEXT, word_model_claim
from explorer.text.clips import name_clip
from explorer.text.numbers import (
    choose_exponent,
    format_error_rate,
    format_lift,
    format_places,
    format_plus_minus,
    format_power,
    format_rate,
    format_signed,
)

PASSAGES_SHOWN = 6
CATALOGUE_CLIPS = 100  # rows of a catalogue's test at most
CELL_CHARS = 120
RIGHTS_HOLDER, COMPOSER = "rights holder", "composer"
LARGEST_GROUP = 0.5  # of all tracks, at most, for a grouping to be chosen unasked


def choose_grouping(groupings: dict[str, tuple[int, float]]) -> tuple[str, str]:
    """(grouping to start with, a sentence on why where that is not by rights holder).

    `groupings`: of HolderReader.read_groupings. A public-domain corpus names hardly any holders.
    """
    if RIGHTS_HOLDER in groupings and groupings[RIGHTS_HOLDER][1] <= LARGEST_GROUP:
        return RIGHTS_HOLDER, ""
    choice = COMPOSER if COMPOSER in groupings and groupings[COMPOSER][1] <= LARGEST_GROUP else COLLECTION
    if RIGHTS_HOLDER not in groupings:
        return choice, holders.word_no_holders(choice)
    return choice, holders.word_one_holder(choice, groupings[RIGHTS_HOLDER][1])


class HoldersPage:
    """Renders the tab Holders for one store."""

    def __init__(self, views: StoreViews) -> None:
        self.views = views
        self.store = views.store
        self._folded = views.cache(8, self._fold_names)
        self._catalogue = views.cache(16, self._judge_catalogue)

    def describe_holders(self, view: View) -> dict[str, Any]:
        """Everything that the tab shows for a view."""
        query, groupings = view.holders, self.store.holders.read_groupings()
        unasked, note = choose_grouping(groupings)
        grouping = query.grouping if query.grouping in groupings else unasked
        groups = self.store.holders.read_groups(view.method.method_id, grouping, query.count)
        row = find_group(groups, query.name)
        return {
            "groupings": [{"id": name, "label": f"{name} ({count:,})"} for name, (count, _) in groupings.items()],
            "grouping": grouping,
            "note": note if grouping == unasked else "",
            "counts": [{"id": count, "label": label} for count, label in holders.COUNT_LABELS.items()],
            "count": query.count,
            "methods": [{"id": one.name, "label": one.label} for one in self.views.methods],
            "method": view.method.name,
            "why": [holders.WHY_SORTED, holders.word_lift_method(groups, query.count), holders.word_standouts(groups)],
            "groups": self._list_groups(groups, grouping, query),
            "chosen": None if row is None else self._describe_chosen(view, grouping, groups, row),
            "unknown": query.name if query.name is not None and row is None else None,
            "questions": self._answer_questions(view, grouping, groups, row),
        }

    def _list_groups(self, groups: Groups, grouping: str, query: HolderQuery) -> dict[str, Any]:
        words = _fold_text(query.find).split()
        folded = self._folded(grouping)
        rows = [i for i, name in enumerate(groups.name) if all(word in folded[name] for word in words)]
        offset = min(query.offset, max(0, len(rows) - 1) // HOLDER_GROUPS * HOLDER_GROUPS)
        return {
            "rows": [describe_group(groups, i) for i in rows[offset : offset + HOLDER_GROUPS]],
            "total": len(rows),
            "of": len(groups.name),
            "offset": offset,
            "limit": HOLDER_GROUPS,
            "find": query.find,
        }

    def _fold_names(self, grouping: str) -> dict[str, str]:
        return {
            name: _fold_text(name) for name in self.store.holders.read_groups(self._any_method, grouping, "10").name
        }

    @property
    def _any_method(self) -> int:
        return self.views.methods[0].method_id

    def _describe_chosen(self, view: View, grouping: str, groups: Groups, row: int) -> dict[str, Any]:
        query, name = view.holders, str(groups.name[row])
        up = int(groups.above[row] if query.count == "above" else groups.hits[row])
        # Where nothing comes up, the best placed pairs are listed: the heading says so.
        count, words, method_id = query.count if up else None, query.within if up else "", view.method.method_id
        total = self.store.holders.count_pairs(method_id, grouping, name, query.count, words) if words.strip() else up
        offset = query.row if query.row < total else 0
        ids = self.store.holders.list_pairs(method_id, grouping, name, count, HOLDER_PAIRS, offset, words)
        pairs = read_pairs(self.store, self.views.clip_by_id, view.method.method_id, ids)
        return {
            "name": name,
            "role": "" if grouping in (COLLECTION, ANY_ROLE) else grouping,
            "result": holders.word_group(groups, row, query.count, self.store.clips.count()),
            "interval": describe_group(groups, row),
            "heading": holders.COMES_UP if up else holders.STANDS_BEST,
            "rows": [self.describe_pair(view, pair) for pair in pairs],
            "total": total if up else len(pairs),
            "of": up,
            "within": words,
            "offset": offset,
            "limit": HOLDER_PAIRS,
            "catalogue": self._describe_catalogue(query, grouping, name),
            "downloads": list_downloads(
                "holder", {"by": grouping, "of": name, "method": view.method.name, "up": query.count}
            ),
        }

    def _describe_catalogue(self, query: HolderQuery, grouping: str, name: str) -> dict[str, Any] | None:
        """Describe what unlearning the whole group would do; None where the store has no scores of unlearning."""
        method = self.views.method_by_name.get(METHOD)
        if method is None:
            return None
        offer = {"label": holders.UNLEARN, "asked": query.unlearn, "lines": [], "rows": [], "left_out": 0, "sum": ""}
        if not query.unlearn:
            return offer
        test, clip_ids = self._catalogue(method.method_id, grouping, name)
        lines = holders.word_catalogue(test, len(clip_ids))
        if test.effect is None:
            return {**offer, "lines": lines}
        clips, effect = [self.views.clip_by_id[i] for i in clip_ids], test.effect
        exponent = choose_exponent(np.concatenate([effect.total, effect.usual]))
        order = np.lexsort((-effect.total, effect.p_value)).tolist()
        rows = [describe_catalogue_clip(clips[i], effect, i, 10.0**exponent) for i in order[:CATALOGUE_CLIPS]]
        heading = f"sum of raw scores{format_power(exponent)}"
        return {**offer, "lines": lines, "rows": rows, "left_out": len(order) - len(rows), "sum": heading}

    def _judge_catalogue(self, method_id: int, grouping: str, name: str) -> tuple[CatalogueTest, list[int]]:
        """(the test of a group as a whole, the clips it is about)."""
        scores = self.store.holders.read_catalogue(method_id, grouping, name)
        return judge_catalogue(*scores[1:]), scores.clip_id.tolist()

    def describe_pair(self, view: View, pair: PairDetails) -> dict[str, Any]:
        """One pair of clip and track, texts ready to read."""
        summary = self.views.summaries[view.method.method_id].get(pair.clip.clip_id)
        why = explain_refusal(pair.track.audition, pair.track.has_audio)
        return {
            "clip_id": pair.clip.clip_id,
            "track_id": pair.track.track_id,
            "clip": f"{pair.clip.clip_id} · {name_clip(pair.clip)}"[:CELL_CHARS],
            "title": pair.track.title[:CELL_CHARS],
            "people": pair.people[: 2 * CELL_CHARS],
            "work": f"one of {pair.renderings} renderings of this work" if pair.renderings > 1 else "",
            "planted": pair.track.planted or "",
            "place": format_places(*pair.places),
            "of": f"{summary.tracks:,}" if summary else "",
            "norm": format_plus_minus(pair.score_norm, pair.std_error_norm, 2),
            "q": "" if pair.q_value is None else f"q {format_error_rate(pair.q_value)}",
            "kind": pair.kind,
            "badge": pair.badge,
            "model": word_model_claim(pair.claim),
            "clip_at": pair.clip_at,
            "track_at": pair.track_at,
            "hears": is_audible(pair.track, pair.track_at),
            "playable": why is None,
            "why": why or "",
        }

    def _answer_questions(self, view: View, grouping: str, groups: Groups, row: int | None) -> list[dict[str, Any]]:
        name = None if row is None else str(groups.name[row])
        by = None if name is None else grouping
        method_id = view.method.method_id
        copying = self.store.resemblance.find_copying(PASSAGES_SHOWN, by, name)
        clips = self.views.clip_by_id
        out, command = holders.word_removal(by, name, self.store.path.name)
        above = None if row is None else int(groups.above[row])
        sure = holders.word_group_certainty(
            self.views.list_summaries(method_id),
            self.store.runs.count_controls(method_id),
            self.store.runs.has_retraining(),
            above,
        )
        tracks = self.store.tracks.read_many([one.track_id for one in copying.passages])
        return [
            {
                "title": "Is anything copied?",
                "lines": holders.word_copying(copying, self.store.resemblance.has_search()),
                "passages": [
                    _describe_passage(one, clips[one.clip_id], tracks[one.track_id].title)
                    for one in copying.passages
                    if one.clip_id in clips and one.track_id in tracks
                ],
            },
            {"title": "How sure is this?", "lines": sure},
            {
                "title": "What may be played?",
                "lines": holders.word_audition(self.store.holders.count_audible(by, name)),
            },
            {"title": "Take it out", "lines": out, "command": command},
        ]


def find_group(groups: Groups, name: str | None) -> int | None:
    """Index of the group of this name; None where there is none."""
    matches = np.flatnonzero(groups.name == name)
    return int(matches[0]) if len(matches) else None


def describe_group(groups: Groups, i: int) -> dict[str, Any]:
    """One group of the list; `low`, `lift`, `high` for drawing (high None: not known), the rest ready to read."""
    low, lift, high = float(groups.low[i]), float(groups.lift[i]), float(groups.high[i])
    known = bool(groups.expected[i] > 0)
    return {
        "name": str(groups.name[i]),
        "tracks": f"{groups.tracks[i]:,}",
        "works": f"{groups.works[i]:,}",
        "hits": f"{groups.hits[i]:,}",
        "expected": format_rate(groups.expected[i]),
        "low": round(low, 3),
        "lift": round(lift, 3),
        "high": round(high, 3) if known else None,
        "text": format_lift(low, lift, high),
        "stands": classify_lift(groups, i).replace(" ", "-"),
        "stands_text": holders.LIFT_LABELS[classify_lift(groups, i)] if known else holders.NOTHING_UP,
        "above": f"{groups.above[i]:,}",
        "best": f"{groups.best[i]:,}" if groups.best[i] else "–",
    }


def describe_catalogue_clip(clip: ClipRecord, effect: CatalogueEffect, i: int, unit: float) -> dict[str, Any]:
    """One clip of a catalogue's test, texts ready to read; sums are divided by `unit`."""
    above = bool(effect.above_noise[i])
    return {
        "clip": f"{clip.clip_id} · {name_clip(clip)}"[:CELL_CHARS],
        "total": format_signed(float(effect.total[i]) / unit, 2),
        "usual": format_signed(float(effect.usual[i]) / unit, 2),
        "p": format_error_rate(float(effect.p_value[i])),
        "q": format_error_rate(float(effect.q_value[i])),
        "kind": ABOVE if above else NOISE,
        "badge": ABOVE_TEXT if above else NOISE_TEXT,
    }


def list_downloads(subject: str, parts: dict[str, Any]) -> list[dict[str, str]]:
    """Addresses of the report on a 'clip' or 'holder', and of its rows. `parts`: of the query string."""
    query = urlencode(parts)
    kinds = (("html", "Evidence report (HTML)"), ("csv", "its rows (CSV)"), ("parquet", "its rows (Parquet)"))
    return [{"href": f"/report/{subject}.{kind}?{query}", "label": label} for kind, label in kinds]


def _describe_passage(one: CopiedPassage, clip: ClipRecord, title: str) -> dict[str, Any]:
    return {
        "clip_id": one.clip_id,
        "track_id": one.track_id,
        "text": holders.word_passage(one, title[:CELL_CHARS]),
        "clip_at": list(one.clip),
        "track_at": list(one.track),
        "clip": name_clip(clip)[:CELL_CHARS],
    }


def _fold_text(text: str) -> str:
    """The text without accents and case, as the filter of tracks compares."""
    split = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in split if not unicodedata.combining(letter)).lower()
