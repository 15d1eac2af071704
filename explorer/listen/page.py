"""A view -> the value of each part of the tabs Listen and All clips: plain dicts and lists of sentences. No gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explorer.listen import charts, lanes, overview, table
from explorer.listen.resemblance import TITLE_CHARS, ResemblanceFacts, describe_resemblance
from explorer.listen.table import TablePage
from explorer.sound.loudness import limit_gain, match_gains
from explorer.sound.permission import explain_refusal, explain_unplayable
from explorer.state.notes import describe_note_subject
from explorer.state.store_views import StoreViews
from explorer.state.view import View
from explorer.store.places import PlaceIntervals
from explorer.store.ranking import NORMALISED, RAW, Ranking, find_intervals
from explorer.store.records import TrackRecord
from explorer.text.claims import ABOVE, DECOY, NOISE, classify_pair, label_pair, word_model_claim
from explorer.text.clips import describe_clip, label_clip, word_model
from explorer.text.diagnostics import word_findings, word_run
from explorer.text.numbers import format_error_rate
from explorer.text.scores import word_reliability
from explorer.text.tracks import list_further_people, list_remarks, note_track, word_place
from explorer.text.verdict import word_concentration, word_control, word_span, word_verdict


class ListenPage:
    """Renders the tabs Listen and All clips for one store."""

    def __init__(self, views: StoreViews) -> None:
        self.views = views
        self.store = views.store
        self._heard = views.cache(1, self._describe_sounds)
        self._overview = views.cache(None, self._describe_clips)  # one a method, 0.5 kB a clip

    def list_choices(self) -> list[tuple[str, int]]:
        """The list of clips: what is shown, and the id."""
        return [(label_clip(clip), clip.clip_id) for clip in self.views.clips]

    def describe_verdict(self, view: View) -> list[str]:
        """The sentences under the clip, most telling first."""
        clip, summary = self.views.clip_by_id[view.clip_id], self.views.find_summary(view)
        lines = [view.unknown] if view.unknown else []
        if view.span is not None and summary is not None:
            lines += word_span(self.views.rank(view), view.span, summary.above_noise)
        if clip.target_track_id is not None:
            normalised, raw = (self.views.rank(replace(view, span=None, order=by)) for by in (NORMALISED, RAW))
            lines.append(word_control(normalised, raw, clip.target_track_id, clip.target_title or ""))
        bins = self.store.claims.read_bins(view.method.method_id, view.clip_id)
        first, *rest = word_verdict(summary, bins, self.views.find_calibration(view.method))
        whole = "Of the whole clip: " if view.span is not None else ""
        last = word_reliability(view.method.reliability) if summary else ""  # beside the choice of the method
        return [line for line in (*lines, whole + first, word_model(clip), *rest, last) if line]

    def describe_curve(self, view: View) -> dict[str, Any]:
        """The scores by place."""
        ranking, lanes_now = self.views.rank(view), self.views.list_lanes(view)
        named = self.store.tracks.read_many([*charts.list_titled(ranking), *lanes_now])
        titles = {track_id: track.title for track_id, track in named.items()}
        return charts.describe_curve(ranking, view.order, view.span, titles, view.track_id, lanes_now)

    def describe_summary(self, view: View) -> list[str]:
        """Sentences on how concentrated the scores are, how decoys score, and how settled the order is."""
        summary = self.views.find_summary(view)
        if summary is None:
            return []
        lines = (
            word_concentration(summary, self.views.rank(view), view.order),
            word_reliability(view.method.reliability),
        )
        return [line for line in lines if line]

    def describe_table(self, view: View) -> dict[str, Any]:
        """One page of the table of tracks."""
        ranking, query = self.views.rank(view), view.asked
        found_ids = self.store.tracks.find(query.text, query.collection, query.by) if query.finds else None
        work = self._work(ranking)
        indices = table.choose_rows(ranking, query, found_ids, self._sort_key(view, query.sort), work)
        query = query.within(len(indices))
        rows = table.select_page(indices, query)
        page = self._read_table_page(view, rows, len(indices), table.find_renderings(ranking, work, rows, query.decoys))
        return table.describe_table(page, ranking, query, self.views.collections, view.span, view.track_id)

    def _read_table_page(self, view: View, rows: np.ndarray, total: int, renderings: dict[int, list[str]]) -> TablePage:
        """`rows`: indices into the ranking; `total`: of all pages."""
        method_id, clip_id = view.method.method_id, view.clip_id
        ids = [int(i) for i in self.views.rank(view).track_id[rows]]
        scores = self.store.scores.read_rows(method_id, clip_id, ids)
        tracks, parties = self.store.tracks.read_many(ids), self.store.holders.read_parties(ids)
        refusals = {i: explain_refusal(track.audition, track.has_audio) for i, track in tracks.items()}
        people = {i: list_further_people(track, parties[i]) for i, track in tracks.items()}
        summary = self.views.find_summary(view)
        return TablePage(
            scores=scores,
            tracks=tracks,
            total=total,
            refusals={i: text for i, text in refusals.items() if text},
            places=self._find_places(view, ids),
            renderings=renderings,
            people={i: text for i, text in people.items() if text},
            largest_raw=summary.largest_raw if summary else None,
            claims=self.views.read_claims(view, ids),
            silent=self.views.find_silent_bins(view),
            tuned=self.views.is_tuned(view),
        )

    def _find_places(self, view: View, ids: Sequence[int]) -> tuple[PlaceIntervals, PlaceIntervals]:
        """The places that tracks may hold in the whole clip, by normalised and by raw score."""
        by_norm, by_raw = (self.views.rank(replace(view, span=None, order=order)) for order in (NORMALISED, RAW))
        return find_intervals(by_norm, ids), find_intervals(by_raw, ids)

    def compact_table(self, view: View) -> dict[str, Any]:
        """`describe_table`, in the form that goes to the browser."""
        return table.compact_rows(self.describe_table(view))

    def _work(self, ranking: Ranking) -> np.ndarray:
        """The number of each track's work, in the ranking's order."""
        ids, works = self.store.tracks.read_works()
        if len(ids) and ids[-1] - ids[0] == len(ids) - 1:  # as they usually are: no search needed
            return works[ranking.track_id - ids[0]]
        return works[np.searchsorted(ids, ranking.track_id)]

    def _sort_key(self, view: View, sort: str) -> np.ndarray | None:
        """The values that the table sorts by, least first, in the ranking's order; None for a text."""
        ranking = self.views.rank(view)
        if sort == "q":
            return ranking.q_value
        if sort not in ("raw", "error"):
            return None
        columns = self.store.scores.read_columns(view.method.method_id, view.clip_id)
        at = np.searchsorted(columns["track_id"], ranking.track_id)
        return -columns["score"][at] if sort == "raw" else columns["std_error_norm"][at]

    def describe_overview(self, view: View) -> dict[str, Any]:
        """A card for each clip."""
        return self._overview(view.method.method_id) | {"selected": view.clip_id}

    def _describe_clips(self, method_id: int) -> dict[str, Any]:
        return overview.describe_clips(self.views.clips, self.views.summaries[method_id], None, self._heard())

    def _describe_sounds(self) -> dict[int, dict[str, Any]]:
        """By clip: how loud it is heard by itself, and why not at all."""
        sounds = {clip.clip_id: self.store.clips.read_sound(clip.clip_id) for clip in self.views.clips}
        return {
            i: {"gain_db": limit_gain(sound.loudness_lufs), "why": explain_unplayable(self.store, sound)}
            for i, sound in sounds.items()
        }

    def describe_player(self, view: View) -> dict[str, Any]:
        """The clip and its tracks as lanes, the first of them in focus where none was chosen."""
        clip, track_ids = self.views.clip_by_id[view.clip_id], self.views.list_lanes(view)
        clip_sound = self.store.clips.read_sound(view.clip_id)
        sounds = [self.store.tracks.read_sound(track_id) for track_id in track_ids]
        gains = match_gains([clip_sound, *sounds])
        title = clip.prompt or clip.target_title or "no prompt"
        refused = explain_unplayable(self.store, clip_sound)
        windows = self.store.scores.read_clip_moments(view.method.method_id, view.clip_id, track_ids)
        tracks, works = self.store.tracks.read_many(track_ids), self.store.tracks.count_renderings(track_ids)
        shown = [lanes.describe_lane("clip", view.clip_id, title, describe_clip(clip), clip_sound, gains[0], refused)]
        for track_id, sound, gain in zip(track_ids, sounds, gains[1:], strict=True):
            track = tracks[track_id]
            note = " · ".join(part for part in (track.composer, track.collection, track.instrument) if part)
            item = lanes.describe_lane(
                "track", track_id, track.title, note, sound, gain, explain_unplayable(self.store, sound)
            )
            item |= self._describe_rank(view, track) | {"work": note_track(track, works.get(track_id, 0))}
            moments = self.store.scores.read_moments(view.method.method_id, view.clip_id, track_id)
            if moments is not None and not item["refused"]:
                item["strip"] = lanes.describe_strip(moments, sound)
            if windows is not None:
                item["clip_strip"] = lanes.describe_clip_strip(windows.influence.get(track_id, ()), windows.window_s)
            shown.append(item)
        span, loop = view.span, view.loop
        return {
            "clip": shown[0],
            "tracks": shown[1:],
            "focus": view.track_id,
            "start": view.start,
            "span": span and {"from_s": span.from_s, "to_s": min(span.to_s, clip.duration_s)},
            "loop": loop and {"track_id": loop.track_id, "from_s": loop.from_s, "to_s": loop.to_s},
            "passage": self._find_passage(view, track_ids),
            "window_s": windows.window_s if windows else 0.0,
        }

    def _find_passage(self, view: View, track_ids: Sequence[int]) -> dict[str, Any] | None:
        """The passage that the address names, if its track is in the player."""
        track_id, number = view.passage or (-1, 0)
        if track_id not in track_ids:
            return None
        passages = self.store.resemblance.read_passages(view.clip_id, [track_id]).get(track_id, [])
        passage = next((one for one in passages if one.number == number), None)
        if passage is None:
            return None
        return {
            "track_id": track_id,
            "number": number,
            "clip": [passage.clip_start_s, passage.clip_end_s],
            "track": [passage.track_start_s, passage.track_end_s],
        }

    def describe_resemblance(self, view: View) -> dict[str, Any]:
        """Aspects and passages of every track in the player, and what a note on one is stored with."""
        ids = self.views.list_lanes(view)
        tracks, ranking = self.store.tracks.read_many(ids), self.views.rank(view)
        aspects, passages = (
            self.store.resemblance.read_aspects(view.clip_id, ids),
            self.store.resemblance.read_passages(view.clip_id, ids),
        )
        has_aspects, has_passages = self.store.resemblance.has_aspects(), self.store.resemblance.has_passages()
        remarks = list_remarks(self.store, ranking, ids, self.views.read_claims(view, ids), self.views.is_tuned(view))
        shown = {}
        for i in ids:
            sound = self.store.tracks.read_sound(i)
            facts = ResemblanceFacts(aspects.get(i), passages.get(i, []), has_aspects, has_passages)
            shown[str(i)] = {
                "title": tracks[i].title[:TITLE_CHARS],
                "remarks": remarks[i],
                "facts": _list_facts(ranking, i),
                **describe_resemblance(facts, sound, explain_unplayable(self.store, sound)),
            }
        return {**describe_note_subject(self.views, view), "focus": view.track_id, "tracks": shown}

    def _describe_rank(self, view: View, track: TrackRecord) -> dict[str, str | None]:
        """Place, badge and q-value of a lane, and the claim *shaped the model*, or that it is a hub."""
        ranking = self.views.rank(view)
        i = ranking.index(track.track_id)
        if i is None:
            return {}
        place = f"place {word_place(ranking, i)} of {ranking.tracks:,}"
        q_value = float(ranking.q_value[i])  # of the span, where the place is
        q = None if math.isnan(q_value) else f"q {format_error_rate(q_value)}"
        match_bin, p_value = int(ranking.match_bin[i]), float(ranking.p_value[i])
        silent = match_bin in self.views.find_silent_bins(view)
        kind = classify_pair(bool(ranking.is_decoy[i]), bool(ranking.above_noise[i]), p_value, silent)
        label = label_pair(kind, match_bin)
        if kind == DECOY:
            return {"chip": kind, "chip_text": label, "place": f"would be {place}", "q": q}
        where = " in this span" if view.span else " by raw score" if view.order == RAW else ""
        whole = " in the whole clip" if view.span and kind in (ABOVE, NOISE) else ""  # the place is the span's
        claim = self.views.read_claims(view, [track.track_id]).get(track.track_id)
        shown = {"chip": kind, "chip_text": label + whole, "place": place + where, "q": q}
        return shown | {"model": word_model_claim(claim)}

    def describe_about(self, view: View) -> list[str]:
        """The method, the run, and the run's findings about the method: a line each."""
        findings = word_findings(self.store.runs.list_diagnostics(view.method.method_id))
        return [view.method.description, word_run(self.store.runs.read_latest()), *findings]


def _list_facts(ranking: Ranking, track_id: int) -> dict[str, str]:
    """The numbers that a note on a track is exported with, as text."""
    row = ranking.index(track_id)
    if row is None:
        return {}
    numbers = {"value": ranking.value[row], "p_value": ranking.p_value[row], "q_value": ranking.q_value[row]}
    known = {name: f"{float(value):.6g}" for name, value in numbers.items() if not math.isnan(value)}
    return {"place": f"{int(ranking.place[row])}", "places": word_place(ranking, row), **known}
