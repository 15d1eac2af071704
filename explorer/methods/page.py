"""A view -> the values of the parts for researchers: two methods side by side, hard cases, what lies behind a score.

No gradio. A part that no open tab shows has the value None: it costs nothing until its tab is opened. What does not
depend on the listener is worked out once, at the first question, and kept: some 3 MB a method at 115,000 tracks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from explorer.listen import resemblance
from explorer.methods import cases, comparison, hard_cases
from explorer.sound.permission import explain_refusal, explain_unplayable
from explorer.state.store_views import StoreViews
from explorer.state.view import View
from explorer.store.ranking import NORMALISED, Ranking
from explorer.store.records import Agreement, MethodRecord, ScoreSample
from explorer.store.scores import SAMPLE
from explorer.text import methods as trust
from explorer.text.clips import label_clip, name_clip
from explorer.text.numbers import format_duration
from explorer.text.tracks import list_further_people, list_people, word_certainty, word_renderings

CLIP_CHARS = 80


class MethodsPage:
    """Renders the parts for researchers of one store."""

    def __init__(self, views: StoreViews) -> None:
        self.views = views
        self.store = views.store
        self._top = views.cache(None, lambda method_id: self.store.scores.read_top(method_id))
        self._sample = views.cache(None, lambda method_id: self.store.scores.read_sample(method_id))
        self._comparison = views.cache(32, self._compare)  # 30 kB each
        self._lines = views.cache(None, self._record)
        self._agreement = views.cache(1, self._agreements)
        self._cases = views.cache(64, self._case_frame)
        self._settings = views.cache(None, self._run_settings)
        self.key = self._store_key()

    # --- beside the player

    def why(self, view: View) -> dict[str, Any]:
        """Aspects and passages of every track in the player, and what a note on one is kept with."""
        ids = self.views.list_lanes(view)
        tracks, ranking = self.store.tracks.read_many(ids), self.views.rank(view)
        aspects, passages = (
            self.store.resemblance.read_aspects(view.clip_id, ids),
            self.store.resemblance.read_passages(view.clip_id, ids),
        )
        measured = self.store.resemblance.has_aspects(), self.store.resemblance.has_passages()
        told = self._told(ranking, ids)
        shown = {}
        for track_id in ids:
            sound, track = self.store.tracks.read_sound(track_id), tracks[track_id]
            refused = explain_unplayable(self.store, sound)
            found = passages.get(track_id, [])
            row = ranking.index(track_id)
            item = resemblance.track(
                track.title, aspects.get(track_id), found, sound, refused, measured, told[track_id]
            )
            item["facts"] = (
                {}
                if row is None
                else {
                    "place": f"{int(ranking.place[row])}",
                    "value": f"{float(ranking.value[row]):.6g}",
                    "q_value": f"{float(ranking.q_value[row]):.6g}",
                }
            )
            shown[str(track_id)] = item
        return {**self._noted(view), "focus": view.track_id, "tracks": shown}

    def _told(self, ranking: Ranking, ids: Sequence[int]) -> dict[int, list[str]]:
        """By track: how sure its score is, who holds it, other renderings of its work; texts may be empty."""
        tracks = self.store.tracks.read_many(ids)
        parties, works = self.store.holders.read_parties(ids), self.store.tracks.count_renderings(ids)
        return {
            i: [word_certainty(ranking, i), list_people(parties[i]), word_renderings(track, works.get(i, 0)) or ""]
            for i, track in tracks.items()
        }

    def _noted(self, view: View) -> dict[str, Any]:
        """What a note belongs to."""
        clip = self.views.clip_by_id[view.clip_id]
        return {
            "store": self.key,
            "clip_id": view.clip_id,
            "clip": name_clip(clip)[:CLIP_CHARS],
            "method": view.method.name,
            "method_label": view.method.label,
        }

    def _store_key(self) -> str:
        """Names the run, so that notes on another one are not shown here."""
        run = self.store.runs.read_latest()
        return f"{run.model_sha256[:12]}-{run.started_at:%Y%m%d%H%M%S}"

    # --- two methods

    def compare(self, view: View) -> dict[str, Any] | None:
        if view.tab != "compare":
            return None
        versus = self.views.find_versus(view)
        form = {
            "clips": [[clip.clip_id, label_clip(clip)[:CLIP_CHARS]] for clip in self.views.clips],
            "methods": [[one.name, one.label] for one in self.views.methods],
            "measures": list(comparison.MEASURE_NAMES.items()),
            "clip_id": view.clip_id,
            "method": view.method.name,
            "versus": versus.name if versus else None,
            "measure": view.measure,
        }
        if versus is None:
            only = f"This store holds one method, {view.method.label}: there is no second one to compare it with."
            return {**form, "lines": [only], "columns": [], "scatter": None}
        return {**form, **self._comparison(view.clip_id, view.method, versus, view.order)}

    def _compare(self, clip_id: int, first: MethodRecord, second: MethodRecord, order: str) -> dict[str, Any]:
        views = [View(clip_id, method, order) for method in (first, second)]
        a, b = (self.views.rank(view) for view in views)
        tracks = self.store.tracks.read_many([*a.first(100), *b.first(comparison.ROWS)])
        silent = {i: text for i, track in tracks.items() if (text := explain_refusal(track.audition, track.has_audio))}
        loudness = self.store.tracks.read_loudness([*a.first(comparison.ROWS), *b.first(comparison.ROWS)])
        titles = {i: track.title for i, track in tracks.items()}
        by = "normalised" if order == NORMALISED else "raw"
        return {
            "lines": [
                *comparison.pair(a, b, (first.label, second.label)),
                f"Order: by {by} score, training tracks alone.",
            ],
            "columns": [
                comparison.column(a, b, first.label, tracks, silent, loudness),
                comparison.column(b, a, second.label, tracks, silent, loudness),
            ],
            "scatter": comparison.scatter(a, b, titles),
        }

    def heat(self, view: View) -> dict[str, Any] | None:
        """The heat map, as gr.Plot takes it."""
        if view.tab != "compare" or len(self.views.methods) < 2:
            return None
        plot = comparison.heat(self.views.methods, self._agreement()[0], view.measure)
        return None if plot is None else {"type": "plotly", "plot": plot}

    def heat_text(self, view: View) -> list[str]:
        """What the heat map shows, or why there is none."""
        if view.tab != "compare":
            return []
        if len(self.views.methods) < 2:
            return ["Agreement needs two methods: this store holds one."]
        found, said = self._agreement()
        if not found:
            return ["No two methods scored the same clips, so nothing can be compared."]
        return [
            f"Colour: {comparison.MEASURE_NAMES[view.measure]}, mean over generated clips, training tracks alone. "
            f"{said}"
        ]

    def _agreements(self) -> tuple[list[Agreement], str]:
        stored = self.store.runs.list_agreement()
        if stored:
            return stored, "As the run measured it."
        tops, samples = self._tops(self.views.methods), self._samples(self.views.methods)
        clips = {clip.clip_id for clip in self.views.clips if clip.kind != "track"}
        found = comparison.measured(self.views.methods, tops, samples, clips)
        if self.store.tracks.count_training() > SAMPLE:
            return found, f"The run kept no agreement: correlations are of {SAMPLE:,} training tracks drawn by chance."
        return found, "The run kept no agreement: worked out from the scores when this tab was opened."

    def _tops(self, methods: list[MethodRecord]) -> dict[int, pd.DataFrame]:
        return {one.method_id: self._top(one.method_id) for one in methods}

    def _samples(self, methods: list[MethodRecord]) -> dict[int, ScoreSample]:
        return {one.method_id: self._sample(one.method_id) for one in methods}

    def methods(self, view: View) -> dict[str, Any] | None:
        """Every method: what it is, costs, and how it did; and those that could not run."""
        if view.tab != "compare":
            return None
        versus = self.views.find_versus(view)
        shown = [view.method.method_id, *([versus.method_id] if versus else [])]
        facts = self.views.methods
        lines = {one.method_id: self._lines(one.method_id, one.name) for one in facts}
        device, clips = self.store.runs.read_latest().device, len(self.views.clips)
        return trust.list_methods(facts, lines, self.store.runs.list_skipped(), shown, device, clips)

    def _record(self, method_id: int, name: str) -> list[str]:
        clips, summaries = self.views.clip_by_id, self.views.summaries.get(method_id, {})
        generated = [s for s in summaries.values() if clips[s.clip_id].kind != "track"]
        own = trust.find_own_places(self._top(method_id))
        told = trust.word_evaluations(self.store.runs.read_evaluations(), name)
        return trust.word_record(self.store.runs.list_diagnostics(method_id), generated, own, told)

    # --- where it is wrong

    def cases(self, view: View) -> dict[str, Any] | None:
        if view.tab != "wrong":
            return None
        query, method = view.cases, view.method
        frame = self._cases(query.kind, query.first, method.method_id)
        names = {clip.clip_id: name_clip(clip) for clip in self.views.clips}
        rows, total = hard_cases.listed(frame, query, names)
        counted = len(self._compared())
        generated = [clip for clip in self.views.clips if clip.kind != "track"]
        chance = (
            hard_cases.hub_chance(query.first, len(generated), self.store.tracks.count_training())
            if query.kind == "hubs"
            else ""
        )
        ids = [] if "track_id" not in rows else [int(i) for i in rows["track_id"]]
        tracks = self.store.tracks.read_many(ids)
        silent = {i: text for i, one in tracks.items() if (text := explain_refusal(one.audition, one.has_audio))}
        works, parties = self.store.tracks.count_renderings(ids), self.store.holders.read_parties(ids)
        told = {
            i: [text for text in (list_further_people(one, parties[i]), word_renderings(one, works.get(i, 0))) if text]
            for i, one in tracks.items()
        }
        shown = hard_cases.cases(
            rows,
            total,
            query,
            method.name,
            [(one.name, one.label) for one in self.views.methods],
            hard_cases.about(query.kind, query.first, self.store.tracks.read_usual_duration(), 0, counted, chance),
            hard_cases.empty(query.kind, query.text, counted),
            silent,
            self.store.tracks.read_loudness(ids),
            told,
        )
        return {**shown, **self._noted(view)}

    def notes(self, view: View) -> dict[str, Any] | None:
        """Which run's notes are shown; they themselves are in the browser."""
        return {"store": self.key} if view.tab == "wrong" else None

    def _compared(self) -> list[MethodRecord]:
        """The methods that say something of their own."""
        return [one for one in self.views.methods if one.name not in cases.UNCOUNTED]

    def _case_frame(self, kind: str, first: int, method_id: int) -> pd.DataFrame:
        if kind == "disagree":
            compared = self._compared()
            return cases.disagreements(self._tops(compared), self._samples(compared), first)
        top = self._top(method_id)
        if kind == "short":
            return cases.short(top, self.store.tracks.read_usual_duration(), first)
        make = {"hubs": cases.hubs, "decoys": cases.decoys_high, "quiet": cases.quiet}[kind]
        return make(top, first)

    def behind(self, view: View) -> dict[str, Any] | None:
        """Score against length, the chosen track's parts over t, diagnostics along training, settings and cost."""
        if view.tab != "wrong":
            return None
        clip_view = View(view.clip_id, view.method)
        ranking = self.views.rank(clip_view)
        ids, seconds = self.store.tracks.read_durations()
        at = np.searchsorted(ids, ranking.track_id[~ranking.is_decoy])
        correlation = cases.spearman(ranking.value[~ranking.is_decoy], seconds[at])
        named = self.store.tracks.read_many(ranking.first(60))
        titles = {i: track.title for i, track in named.items()}
        chosen = view.track_id
        parts, title = None, ""
        told: list[str] = []
        if chosen is not None:
            title = self.store.tracks.read(chosen).title
            told = [text for text in self._told(ranking, [chosen])[chosen] if text]
            parts = self.store.scores.read_parts(view.method.method_id, view.clip_id, [chosen]).get(chosen)
        return {
            "clip_id": view.clip_id,
            "clip": name_clip(self.views.clip_by_id[view.clip_id])[:CLIP_CHARS],
            "method_label": view.method.label,
            "track_id": chosen,
            "named": told,
            "duration": hard_cases.against_duration(ranking, ids, seconds, titles, correlation),
            "parts": hard_cases.parts(parts, title, self.store.scores.has_parts()),
            "findings": hard_cases.findings(self.store.runs.list_diagnostics(view.method.method_id)),
            "settings": self._settings(view.method.method_id),
        }

    def _run_settings(self, method_id: int) -> list[list[str]]:
        """[heading, text] pairs: the run, the method, versions, the whole configuration."""
        run = self.store.runs.read_latest()
        one = next(one for one in self.views.methods if one.method_id == method_id)
        made = [
            f"made {run.started_at:%Y-%m-%d %H:%M} UTC on {run.device} in {format_duration(run.duration_s)}",
            f"weights {run.model_sha256}",
            f"code {run.commit_hash or 'outside a git checkout'}",
            trust.word_cost(one.cost_s, run.device, len(self.views.clips)),
        ]
        try:
            versions = "\n".join(f"{key} {value}" for key, value in json.loads(run.versions_json).items())
        except (ValueError, AttributeError):
            versions = run.versions_json
        texts = [
            ("Run and cost", "\n".join(made)),
            (f"Settings of {one.label}", trust.format_settings(one.settings_json)),
            ("Package versions", versions[:4000]),
            ("Configuration of the run", run.config_toml[:8000]),
        ]
        return [[heading, text] for heading, text in texts if text.strip()]
