"""A view -> the values of the tabs that compare methods and look for mistakes. No gradio.

A part that no open tab shows has the value None: it costs nothing until its tab is opened. What does not depend on the
listener is computed once, when it is first asked for, and cached: some 3 MB a method at 115,000 tracks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from explorer.methods import case_table, comparison, diagnostics, hard_cases
from explorer.methods.agreement import measure_agreement
from explorer.methods.heat_map import draw_heat_map
from explorer.sound.permission import explain_refusal
from explorer.state.notes import CLIP_CHARS, describe_note_subject, name_run
from explorer.state.store_views import StoreViews
from explorer.state.view import View
from explorer.store.ranking import NORMALISED, Ranking
from explorer.store.records import Agreement, MethodRecord, ScoreSample
from explorer.store.scores import SAMPLE
from explorer.text import comparison as comparison_text
from explorer.text import hard_cases as case_text
from explorer.text import methods as method_text
from explorer.text.claims import label_hub
from explorer.text.clips import label_clip, name_clip
from explorer.text.numbers import format_duration, format_places
from explorer.text.tracks import list_further_people, list_remarks, word_renderings

VERSIONS_CHARS, CONFIG_CHARS = 4000, 8000
TITLED_TRACKS = 60  # of the scatter of score against length


class MethodsPage:
    """Renders the tabs Compare and Where is it wrong for one store."""

    def __init__(self, views: StoreViews) -> None:
        self.views = views
        self.store = views.store
        self._top = views.cache(None, lambda method_id: self.store.scores.read_top(method_id))
        self._sample = views.cache(None, lambda method_id: self.store.scores.read_sample(method_id))
        self._comparison = views.cache(32, self._compare_methods)  # 30 kB each
        self._record = views.cache(None, self._word_record)
        self._agreement = views.cache(1, self._find_agreement)
        self._case_frame = views.cache(64, self._find_cases)
        self._settings = views.cache(None, self._list_settings)

    # --- the tab Compare

    def describe_comparison(self, view: View) -> dict[str, Any] | None:
        """Two methods on one clip: sentences, two columns, a scatter of places."""
        if view.tab != "compare":
            return None
        versus = self.views.find_versus(view)
        form = {
            "clips": [[clip.clip_id, label_clip(clip)[:CLIP_CHARS]] for clip in self.views.clips],
            "methods": [[one.name, one.label] for one in self.views.methods],
            "measures": list(comparison_text.MEASURE_NAMES.items()),
            "clip_id": view.clip_id,
            "method": view.method.name,
            "versus": versus.name if versus else None,
            "measure": view.measure,
        }
        if versus is None:
            lines = [comparison_text.word_lone_method(view.method.label)]
            return {**form, "lines": lines, "columns": [], "scatter": None}
        return {**form, **self._comparison(view.clip_id, view.method, versus, view.order)}

    def _compare_methods(self, clip_id: int, first: MethodRecord, second: MethodRecord, order: str) -> dict[str, Any]:
        a, b = (self.views.rank(View(clip_id, method, order)) for method in (first, second))
        tracks = self.store.tracks.read_many([*a.first(100), *b.first(comparison.ROWS)])
        loudness = self.store.tracks.read_loudness([*a.first(comparison.ROWS), *b.first(comparison.ROWS)])
        compared = {
            i: comparison.ComparedTrack(track, explain_refusal(track.audition, track.has_audio), loudness.get(i))
            for i, track in tracks.items()
        }
        titles = {i: track.title for i, track in tracks.items()}
        shared = comparison.compare_rankings(a, b)
        by = "normalised" if order == NORMALISED else "raw"
        return {
            "lines": [
                *comparison_text.word_shared_tracks(shared, (first.label, second.label)),
                comparison_text.word_order(by),
                *comparison_text.word_reliabilities(
                    (first.label, first.reliability), (second.label, second.reliability)
                ),
            ],
            "columns": [
                comparison.describe_column(a, b, first.label, compared),
                comparison.describe_column(b, a, second.label, compared),
            ],
            "scatter": comparison.choose_points(a, b, titles),
        }

    def describe_heat(self, view: View) -> dict[str, Any] | None:
        """The heat map of agreement, as gr.Plot takes it."""
        if view.tab != "compare" or len(self.views.methods) < 2:
            return None
        plot = draw_heat_map(self.views.methods, self._agreement()[0], view.measure)
        return None if plot is None else {"type": "plotly", "plot": plot}

    def describe_heat_text(self, view: View) -> list[str]:
        """A sentence on the heat map, or why there is none."""
        if view.tab != "compare":
            return []
        if len(self.views.methods) < 2:
            return [comparison_text.ONE_METHOD]
        agreements, source = self._agreement()
        if not agreements:
            return [comparison_text.NO_COMMON_CLIPS]
        return [comparison_text.word_heat_map(view.measure, source)]

    def _find_agreement(self) -> tuple[list[Agreement], str]:
        """The agreement of every pair of methods, and a sentence on where it comes from."""
        if stored := self.store.runs.list_agreement():
            return stored, comparison_text.STORED_AGREEMENT
        tops, samples = self._read_tops(self.views.methods), self._read_samples(self.views.methods)
        clips = {clip.clip_id for clip in self.views.clips if clip.kind != "track" and clip.run_id == 1}
        agreements = measure_agreement(self.views.methods, tops, samples, clips)
        if self.store.tracks.count_training() > SAMPLE:
            return agreements, comparison_text.word_sampled_agreement(SAMPLE)
        return agreements, comparison_text.MEASURED_AGREEMENT

    def _read_tops(self, methods: Sequence[MethodRecord]) -> dict[int, pd.DataFrame]:
        return {one.method_id: self._top(one.method_id) for one in methods}

    def _read_samples(self, methods: Sequence[MethodRecord]) -> dict[int, ScoreSample]:
        return {one.method_id: self._sample(one.method_id) for one in methods}

    def describe_methods(self, view: View) -> dict[str, Any] | None:
        """Every method: what it is, what it costs and how it did; and those that could not run."""
        if view.tab != "compare":
            return None
        versus = self.views.find_versus(view)
        shown = [view.method.method_id, *([versus.method_id] if versus else [])]
        methods = self.views.methods
        records = {one.method_id: self._record(one.method_id, one.name) for one in methods}
        device, clips = self.store.runs.read_latest().device, len(self.views.clips)
        return method_text.list_methods(methods, records, self.store.runs.list_skipped(), shown, device, clips)

    def _word_record(self, method_id: int, name: str) -> list[str]:
        own_places = method_text.find_own_places(self._top(method_id))
        evaluations = method_text.word_evaluations(self.store.runs.read_evaluations(), name)
        return method_text.word_record(
            self.store.runs.list_diagnostics(method_id),
            self.views.list_summaries(method_id),
            own_places,
            evaluations,
            self.views.find_calibration(self.views.method_by_name[name]),
        )

    # --- the tab Where is it wrong

    def describe_cases(self, view: View) -> dict[str, Any] | None:
        """One page of a list of hard cases, with the form that asks for it."""
        if view.tab != "wrong":
            return None
        query = view.cases
        frame = self._case_frame(query.kind, query.first, view.method.method_id)
        names = {clip.clip_id: name_clip(clip) for clip in self.views.clips}
        rows, total = case_table.select_page(frame, query, names)
        tracks = self._describe_case_tracks(view, [] if "track_id" not in rows else [int(i) for i in rows["track_id"]])
        if query.kind != "disagree":
            method_id, clips = view.method.method_id, rows["best_clip" if query.kind == "hubs" else "clip_id"]
            silent, bins = self.store.claims.list_silent(method_id), zip(clips, rows["match_bin"], strict=True)
            rows = rows.assign(places=self._word_places(method_id, rows, clips), silent=[one in silent for one in bins])
        return {
            **case_table.describe_page(rows, total, query, tracks),
            "methods": [[one.name, one.label] for one in self.views.methods],
            "about": self._word_case_list(query.kind, query.first),
            "empty": case_text.word_empty_list(query.kind, query.text, len(self._list_compared())),
            **describe_note_subject(self.views, view),
        }

    def _word_case_list(self, kind: str, first: int) -> str:
        if kind == "disagree":
            return case_text.word_disagreements(len(self._list_compared()))
        if kind == "hubs":
            generated = sum(clip.kind != "track" and clip.run_id == 1 for clip in self.views.clips)
            return case_text.word_hubs(first, generated, self.store.tracks.count_training())
        if kind == "decoys":
            return case_text.word_decoys(first)
        if kind == "quiet":
            return case_text.word_quiet(first, hard_cases.QUIET_LUFS)
        return case_text.word_short(first, hard_cases.SHORT_PART, self.store.tracks.read_usual_duration())

    def _word_places(self, method_id: int, rows: pd.DataFrame, clips: pd.Series) -> list[str]:
        """The places that the track of each row may hold in the clip of that row."""
        score, error = (rows[name].to_numpy(dtype=float) for name in ("score_norm", "std_error_norm"))
        trained = ~rows["is_decoy"].to_numpy(dtype=bool) if "is_decoy" in rows else np.ones(len(rows), bool)
        found = self.store.scores.place_pairs(method_id, clips.to_numpy(dtype=int), score, error, trained)
        return [format_places(int(best), int(worst)) for best, worst in zip(*found, strict=True)]

    def _describe_case_tracks(self, view: View, ids: Sequence[int]) -> dict[int, case_table.CaseTrack]:
        claims = self.views.read_claims(view, ids)
        loudness = self.store.tracks.read_loudness(ids)
        works, parties = self.store.tracks.count_renderings(ids), self.store.holders.read_parties(ids)
        described = {}
        for i, track in self.store.tracks.read_many(ids).items():
            people = list_further_people(track, parties[i])
            remarks = (label_hub(claims.get(i)), people, word_renderings(track, works.get(i, 0)))
            described[i] = case_table.CaseTrack(
                explain_refusal(track.audition, track.has_audio),
                loudness.get(i),
                tuple(text for text in remarks if text),
            )
        return described

    def describe_notes(self, view: View) -> dict[str, Any] | None:
        """The run whose notes are shown; the notes themselves are in the browser."""
        return {"store": name_run(self.store)} if view.tab == "wrong" else None

    def _list_compared(self) -> list[MethodRecord]:
        """The methods that have a judgement of their own."""
        return [one for one in self.views.methods if one.name not in hard_cases.UNCOMPARED]

    def _find_cases(self, kind: str, first: int, method_id: int) -> pd.DataFrame:
        if kind == "disagree":
            compared = self._list_compared()
            return hard_cases.find_disagreements(self._read_tops(compared), self._read_samples(compared), first)
        top = self._top(method_id)
        if kind == "short":
            return hard_cases.find_short(top, self.store.tracks.read_usual_duration(), first)
        find = {"hubs": hard_cases.find_hubs, "decoys": hard_cases.find_decoys, "quiet": hard_cases.find_quiet}[kind]
        return find(top, first)

    def describe_diagnostics(self, view: View) -> dict[str, Any] | None:
        """Score against length, the chosen track's parts over t, findings along training, settings and cost."""
        if view.tab != "wrong":
            return None
        ranking = self.views.rank(View(view.clip_id, view.method))
        ids, seconds = self.store.tracks.read_durations()
        titles = {i: track.title for i, track in self.store.tracks.read_many(ranking.first(TITLED_TRACKS)).items()}
        return {
            "clip_id": view.clip_id,
            "clip": name_clip(self.views.clip_by_id[view.clip_id])[:CLIP_CHARS],
            "method_label": view.method.label,
            "track_id": view.track_id,
            "duration": diagnostics.compare_with_length(ranking, ids, seconds, titles),
            "findings": diagnostics.tabulate_findings(self.store.runs.list_diagnostics(view.method.method_id)),
            "settings": self._settings(view.method.method_id),
            **self._describe_parts(view, ranking),
        }

    def _describe_parts(self, view: View, ranking: Ranking) -> dict[str, Any]:
        """The parts of the chosen track's score, and remarks on the track."""
        has_parts, track_id = self.store.scores.has_parts(), view.track_id
        if track_id is None:
            return {"remarks": [], "parts": diagnostics.describe_parts(None, "", has_parts)}
        parts = self.store.scores.read_parts(view.method.method_id, view.clip_id, [track_id]).get(track_id)
        return {
            "remarks": list_remarks(
                self.store, ranking, [track_id], self.views.read_claims(view, [track_id]), self.views.is_tuned(view)
            )[track_id],
            "parts": diagnostics.describe_parts(parts, self.store.tracks.read(track_id).title, has_parts),
        }

    def _list_settings(self, method_id: int) -> list[list[str]]:
        """[heading, text] pairs: the run, the method, versions, the whole configuration."""
        run = self.store.runs.read_latest()
        method = next(one for one in self.views.methods if one.method_id == method_id)
        run_and_cost = [
            f"made {run.started_at:%Y-%m-%d %H:%M} UTC on {run.device} in {format_duration(run.duration_s)}",
            f"weights {run.model_sha256}",
            f"code {run.commit_hash or 'outside a git checkout'}",
            method_text.word_cost(method.cost_s, run.device, len(self.views.clips)),
        ]
        try:
            versions = "\n".join(f"{key} {value}" for key, value in json.loads(run.versions_json).items())
        except (ValueError, AttributeError):
            versions = run.versions_json
        texts = [
            ("Run and cost", "\n".join(run_and_cost)),
            (f"Settings of {method.label}", method_text.format_settings(method.settings_json)),
            ("Package versions", versions[:VERSIONS_CHARS]),
            ("Configuration of the run", run.config_toml[:CONFIG_CHARS]),
        ]
        return [[heading, text] for heading, text in texts if text.strip()]
