"""A view -> the value of each part of the page. No gradio; plain dicts and lists of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explorer.listen import charts, lanes, overview, table
from explorer.sound.loudness import limit_gain, match_gains
from explorer.sound.permission import explain_refusal, explain_unplayable
from explorer.state.store_views import StoreViews
from explorer.state.view import View
from explorer.store.ranking import NORMALISED, RAW, Ranking
from explorer.store.records import Summary, TrackRecord
from explorer.text.clips import describe_clip, label_clip
from explorer.text.numbers import format_q
from explorer.text.tracks import list_further_people, note_track
from explorer.text.verdict import word_caution, word_concentration, word_control, word_span, word_verdict

CAVEAT = (
    "The error after ± covers noise draws, not retraining. A normalised score compares the raw one with the "
    "same track's scores for other clips, leaves out what all tracks and decoys do alike, then compares with other "
    "tracks for this clip. q is the rate of false discoveries, measured on decoys: tracks that the model never heard."
)


class ListenPage:
    """Renders the views of one store."""

    def __init__(self, views: StoreViews) -> None:
        self.views = views
        self.store = views.store
        self._heard = views.cache(1, self._heard_of)
        self._overview = views.cache(None, self._overview_of)  # one a method, 0.5 kB a clip

    def choices(self) -> list[tuple[str, int]]:
        """The list of clips: what is shown, and the id."""
        return [(label_clip(clip), clip.clip_id) for clip in self.views.clips]

    def verdict(self, view: View) -> list[str]:
        """What to know before anything is heard: most telling first."""
        clip, summary = self.views.clip_by_id[view.clip_id], self.views.find_summary(view)
        lines = [view.unknown] if view.unknown else []
        if view.span is not None and summary is not None:
            lines.append(word_span(self.views.rank(view), view.span, summary.above_noise))
        if clip.target_track_id is not None:
            normalised, raw = (self.views.rank(replace(view, span=None, order=by)) for by in (NORMALISED, RAW))
            lines.append(word_control(normalised, raw, clip.target_track_id, clip.target_title or ""))
        whole = "Of the whole clip: " if view.span is not None else ""
        lines.append(whole + word_verdict(summary))
        generated = [s for s in self._summaries(view) if self.views.clip_by_id[s.clip_id].kind != "track"]
        return [line for line in (*lines, word_caution(generated)) if line]

    def _summaries(self, view: View) -> list[Summary]:
        return list(self.views.summaries[view.method.method_id].values())

    def curve(self, view: View) -> dict[str, Any]:
        ranking, summary = self.views.rank(view), self.views.find_summary(view)
        lanes_now = self.views.list_lanes(view)
        named = self.store.tracks.read_many([*charts.list_titled(ranking), *lanes_now])
        titles = {track_id: track.title for track_id, track in named.items()}
        threshold = summary.threshold_norm if summary else None
        return charts.curve(ranking, view.order, view.span, titles, view.track_id, threshold, lanes_now)

    def summary(self, view: View) -> list[str]:
        """How concentrated the scores are, and what decoys say of them."""
        summary = self.views.find_summary(view)
        return [word_concentration(summary, self.views.rank(view), view.order)] if summary else []

    def table(self, view: View) -> dict[str, Any]:
        ranking, query = self.views.rank(view), view.asked
        found = self.store.tracks.find(query.text, query.collection, query.by) if query.finds else None
        columns, work = self.store.scores.read_columns(view.method.method_id, view.clip_id), self._work(ranking)
        indices = table.matching(ranking, query, found, self._key(view, query.sort), work)
        query = query.within(len(indices))
        rows = table.page(indices, query)
        ids = [int(i) for i in ranking.track_id[rows]]
        scores = self.store.scores.read_rows(view.method.method_id, view.clip_id, ids)
        norm, raw = (
            table.places_of(scores[name].to_numpy(), columns[name], columns["is_decoy"])
            for name in ("score_norm", "score")
        )
        tracks, parties = self.store.tracks.read_many(ids), self.store.holders.read_parties(ids)
        summary = self.views.find_summary(view)
        silent = {i: explain_refusal(track.audition, track.has_audio) for i, track in tracks.items()}
        return table.table(
            scores,
            tracks,
            ranking,
            query,
            len(indices),
            self.views.collections,
            view.span,
            view.track_id,
            {i: why for i, why in silent.items() if why},
            summary.largest_raw if summary else None,
            (norm, raw),
            table.renderings(ranking, work, rows, query.decoys),
            {i: held for i, track in tracks.items() if (held := list_further_people(track, parties[i]))},
        )

    def table_sent(self, view: View) -> dict[str, Any]:
        """`table`, as it goes to the browser."""
        return table.lean(self.table(view))

    def _work(self, ranking: Ranking) -> np.ndarray:
        """The number of each track's work, in the ranking's order."""
        ids, works = self.store.tracks.read_works()
        if len(ids) and ids[-1] - ids[0] == len(ids) - 1:  # as they usually are: no search needed
            return works[ranking.track_id - ids[0]]
        return works[np.searchsorted(ids, ranking.track_id)]

    def _key(self, view: View, sort: str) -> np.ndarray | None:
        """What the table sorts by, least first, in the ranking's order; None where that is no number."""
        ranking = self.views.rank(view)
        if sort == "q":
            return ranking.q_value
        if sort not in ("raw", "error"):
            return None
        columns = self.store.scores.read_columns(view.method.method_id, view.clip_id)
        at = np.searchsorted(columns["track_id"], ranking.track_id)
        return -columns["score"][at] if sort == "raw" else columns["std_error_norm"][at]

    def overview(self, view: View) -> dict[str, Any]:
        return self._overview(view.method.method_id) | {"selected": view.clip_id}

    def _overview_of(self, method_id: int) -> dict[str, Any]:
        return overview.overview(self.views.clips, self.views.summaries[method_id], None, self._heard())

    def _heard_of(self) -> dict[int, dict[str, Any]]:
        """By clip: how loud it is heard by itself, and why not at all."""
        sounds = {clip.clip_id: self.store.clips.read_sound(clip.clip_id) for clip in self.views.clips}
        return {
            i: {"gain_db": limit_gain(sound.loudness_lufs), "why": explain_unplayable(self.store, sound)}
            for i, sound in sounds.items()
        }

    def player(self, view: View) -> dict[str, Any]:
        """The clip and its tracks as lanes, the first of them in focus where none was chosen."""
        clip, track_ids = self.views.clip_by_id[view.clip_id], self.views.list_lanes(view)
        clip_sound = self.store.clips.read_sound(view.clip_id)
        sounds = [self.store.tracks.read_sound(track_id) for track_id in track_ids]
        gains = match_gains([clip_sound, *sounds])
        title = clip.prompt or clip.target_title or "no prompt"
        refused = explain_unplayable(self.store, clip_sound)
        windows = self.store.scores.read_clip_moments(view.method.method_id, view.clip_id, track_ids)
        tracks, works = self.store.tracks.read_many(track_ids), self.store.tracks.count_renderings(track_ids)
        shown = [lanes.lane("clip", view.clip_id, title, describe_clip(clip), clip_sound, gains[0], refused)]
        for track_id, sound, gain in zip(track_ids, sounds, gains[1:], strict=True):
            track = tracks[track_id]
            note = " · ".join(part for part in (track.composer, track.collection, track.instrument) if part)
            item = lanes.lane("track", track_id, track.title, note, sound, gain, explain_unplayable(self.store, sound))
            item |= self._standing(view, track) | {"work": note_track(track, works.get(track_id, 0))}
            moments = self.store.scores.read_moments(view.method.method_id, view.clip_id, track_id)
            if moments is not None and not item["refused"]:
                item["strip"] = lanes.strip(moments, sound)
            if windows is not None:
                item["clip_strip"] = lanes.clip_strip(windows.influence.get(track_id, ()), windows.window_s)
            shown.append(item)
        span, loop = view.span, view.loop
        return {
            "clip": shown[0],
            "tracks": shown[1:],
            "focus": view.track_id,
            "start": view.start,
            "span": span and {"from_s": span.from_s, "to_s": min(span.to_s, clip.duration_s)},
            "loop": loop and {"track_id": loop.track_id, "from_s": loop.from_s, "to_s": loop.to_s},
            "passage": self._passage(view, track_ids),
            "window_s": windows.window_s if windows else 0.0,
        }

    def _passage(self, view: View, track_ids: Sequence[int]) -> dict[str, Any] | None:
        """The passage that the address names, if its track is in the player."""
        track_id, number = view.passage or (-1, 0)
        if track_id not in track_ids:
            return None
        found = self.store.resemblance.read_passages(view.clip_id, [track_id]).get(track_id, [])
        one = next((one for one in found if one.number == number), None)
        if one is None:
            return None
        return {
            "track_id": track_id,
            "number": number,
            "clip": [one.clip_start_s, one.clip_end_s],
            "track": [one.track_start_s, one.track_end_s],
        }

    def _standing(self, view: View, track: TrackRecord) -> dict[str, str]:
        """Place and badge of a lane."""
        ranking = self.views.rank(view)
        i = ranking.index(track.track_id)
        if i is None:
            return {}
        place = f"place {int(ranking.place[i]):,} of {ranking.tracks:,}"
        q = f"q {format_q(float(ranking.q_value[i]))}"  # of the span, where the place is
        if track.is_decoy:
            return {"chip": "decoy", "place": f"would be {place}", "q": q}
        where = " in this span" if view.span else " by raw score" if view.order == RAW else ""
        return {"chip": "above" if ranking.above_noise[i] else "noise", "place": place + where, "q": q}

    def about(self, view: View) -> list[str]:
        """What the run found about itself, for the method on show: a line a finding, along training where known."""
        found = self.store.runs.list_diagnostics(view.method.method_id)
        lines = {item.name: f"{item.meaning}: " for item in found}
        several = len({item.checkpoint_step for item in found}) > 1
        for item in found:
            step = f" (step {item.checkpoint_step:,})" if several else ""
            joint = "" if lines[item.name].endswith(": ") else " → "
            lines[item.name] += f"{joint}{item.value:.3g}{step}"
        run = self.store.runs.read_latest()
        made = f"Made on {run.started_at:%Y-%m-%d} (UTC), {run.device}; weights {run.model_sha256[:12]}"
        code = f", code {run.commit_hash[:12]}." if run.commit_hash else "."
        return [view.method.description, made + code, *lines.values()]
