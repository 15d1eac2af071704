"""Gathers the facts of an evidence report, for a clip or a group of tracks, from the store. html.py renders them.

A report is handed to people who have neither the store nor this program: it says how it was made, what was not looked
for, and what it cannot tell. Sound goes in as `audition` allows. Scores: higher = stronger influence; spans in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from explorer.holders.page import choose_grouping, find_group
from explorer.holders.pairs import PairDetails, read_pairs
from explorer.report.origin import list_hashes, list_settings
from explorer.report.records import Chart, Evidence, EvidenceError, SoundExcerpt
from explorer.report.svg import LiftBand, MomentStrip, draw_intervals, draw_moments, draw_spread
from explorer.sound.embedding import embed_sound
from explorer.sound.permission import SoundRefusedError
from explorer.state.store_views import StoreViews
from explorer.state.view import View
from explorer.store.lift import Groups
from explorer.store.ranking import NORMALISED
from explorer.store.records import CopiedPassage, Copying
from explorer.text import evidence as evidence_text
from explorer.text import holders
from explorer.text.clips import name_clip, word_model
from explorer.text.evidence import format_span
from explorer.text.scores import word_reliability
from explorer.text.verdict import word_concentration, word_control, word_verdict

SHOWN, SHOWN_ABOVE, SHOWN_DECOYS = 30, 60, 10  # rows of a table: strongest tracks, those above noise, decoys
ROWS = 5000  # rows of the files beside the report
HEARD_PAIRS, HEARD_PASSAGES = 5, 3  # whose sound is embedded
NEIGHBOURS = 12  # groups drawn beside the one of the report


def gather_clip_evidence(views: StoreViews, clip_id: int, method: str | None = None) -> Evidence:
    """The report of a clip. Raises EvidenceError for an unknown clip or method, or a clip the method did not score."""
    view = _choose_view(views, method, clip_id)
    clip, store, method_id = views.clip_by_id[clip_id], views.store, view.method.method_id
    summary, ranking = views.find_summary(view), views.rank(view)
    if summary is None or not ranking.tracks:
        raise EvidenceError(f"the method {view.method.name} did not score clip {clip_id}")
    rows = read_pairs(store, views.clip_by_id, method_id, store.scores.list_pairs(method_id, clip_id, ROWS))
    tracks = [pair for pair in rows if pair.place is not None]
    above = [pair for pair in tracks if pair.above_noise][:SHOWN_ABOVE]
    shown = sorted({*range(min(SHOWN, len(tracks))), *(tracks.index(pair) for pair in above)})
    bins = store.claims.read_bins(method_id, clip_id)
    result = list(word_verdict(summary, bins, views.find_calibration(view.method)))
    if clip.target_track_id is not None:
        raw = views.rank(replace(view, order="raw"))
        result.insert(0, word_control(ranking, raw, clip.target_track_id, clip.target_title or ""))
    result += [word_model(clip), word_concentration(summary, ranking, NORMALISED)]
    result.append(word_reliability(view.method.reliability))
    copying = store.resemblance.find_copying(20, clip_id=clip_id)
    charts = (
        Chart(
            "How the score is spread",
            draw_spread(ranking),
            evidence_text.SPREAD_CAPTION,
        ),
    )
    evidence = Evidence(
        kind="clip",
        title=f"Clip {clip_id}",
        subject=(("Clip", name_clip(clip)), *evidence_text.list_clip_facts(clip), *_list_method_facts(view)),
        result=tuple(line for line in result if line),
        pairs=tuple(tracks[i] for i in shown),
        decoys=tuple([pair for pair in rows if pair.place is None][:SHOWN_DECOYS]),
        table_note=evidence_text.word_table_note(len(shown), summary.tracks, "training tracks", len(rows)),
        copied=tuple(holders.word_copying(copying, store.resemblance.has_search())),
        passages=(),
        sure=tuple(_word_certainty(views, method_id)),
        played=tuple(holders.word_audition(store.holders.count_audible(None, None))),
        take_out=_word_removal(store.path),
        charts=charts,
        rows=tuple(rows),
    )
    return _add_sounds_and_origin(views, view, evidence, copying)


def gather_holder_evidence(
    views: StoreViews, name: str, grouping: str | None = None, method: str | None = None, count: str = "10"
) -> Evidence:
    """The report of a composer, holder, collection, ... Raises EvidenceError for an unknown one.

    `grouping`: None looks for the name in the store's default grouping, then in every other.
    """
    store = views.store
    known = store.holders.read_groupings()
    if grouping is not None and grouping not in known:
        raise EvidenceError(f"this store has no grouping {grouping!r}: choose one of {', '.join(known)}")
    view = _choose_view(views, method, views.first_clip.clip_id)
    method_id = view.method.method_id
    orders = [grouping] if grouping is not None else [choose_grouping(known)[0], *known]
    rows_of = ((by, find_group(store.holders.read_groups(method_id, by, count), name)) for by in orders)
    by, row = next(((by, row) for by, row in rows_of if row is not None), (orders[0], None))
    if row is None:
        where = f"no {grouping}" if grouping else "nobody"
        raise EvidenceError(f"{where} of this store is called {name!r}: the page’s tab “Holders” lists the names")
    groups = store.holders.read_groups(method_id, by, count)
    ids = store.holders.list_report_pairs(method_id, by, name, ROWS)
    rows = read_pairs(store, views.clip_by_id, method_id, ids)
    copying = store.resemblance.find_copying(20, by, name)
    out, command = holders.word_removal(by, name, store.path.name)
    evidence = Evidence(
        kind="holder",
        title=name,
        subject=(("Grouped by", by), ("Training tracks", f"{groups.tracks[row]:,}"), *_list_method_facts(view)),
        result=tuple(holders.word_group(groups, row, count, store.clips.count())),
        pairs=tuple(rows[:SHOWN_ABOVE]),
        decoys=(),
        table_note=evidence_text.word_table_note(
            min(len(rows), SHOWN_ABOVE), len(rows), "pairs of clip and track", len(rows)
        )
        + evidence_text.PAIRS_NOTE,
        copied=tuple(holders.word_copying(copying, store.resemblance.has_search())),
        passages=(),
        sure=tuple(_word_certainty(views, method_id, int(groups.above[row]))),
        played=tuple(holders.word_audition(store.holders.count_audible(by, name))),
        take_out=(tuple(out), command),
        charts=(_draw_lift(groups, row, count),),
        rows=tuple(rows),
    )
    return _add_sounds_and_origin(views, view, evidence, copying)


def _choose_view(views: StoreViews, method: str | None, clip_id: int) -> View:
    if clip_id not in views.clip_by_id:
        raise EvidenceError(f"this store has no scored clip {clip_id}")
    by_name = {one.name: one for one in views.methods}
    if method is not None and method not in by_name:
        raise EvidenceError(f"this store has no method {method!r}: choose one of {', '.join(by_name)}")
    return View(clip_id, by_name[method] if method is not None else views.default_method)


def _word_certainty(views: StoreViews, method_id: int, above: int | None = None) -> list[str]:
    runs = views.store.runs
    return holders.word_group_certainty(
        views.list_summaries(method_id), runs.count_controls(method_id), runs.has_retraining(), above
    )


def _word_removal(path: Path) -> tuple[tuple[str, ...], str]:
    lines, command = holders.word_removal(None, None, path.name)
    return tuple(lines), command


def _list_method_facts(view: View) -> list[tuple[str, str]]:
    return [("Method", f"{view.method.label}: {view.method.description}")]


def _draw_lift(groups: Groups, row: int, count: str) -> Chart:
    chosen = sorted({row, *range(min(NEIGHBOURS, len(groups.name)))})
    bands = [
        LiftBand(str(groups.name[i]), float(groups.low[i]), float(groups.lift[i]), float(groups.high[i]), i == row)
        for i in chosen
    ]
    rank = f"Number {row + 1:,} of {len(groups.name):,}"
    return Chart(
        "Lift over chance, beside others",
        draw_intervals(bands),
        f"{rank}. {holders.WHY_SORTED} {holders.word_lift_method(groups, count)} {holders.word_standouts(groups)}",
    )


def _add_sounds_and_origin(views: StoreViews, view: View, evidence: Evidence, copying: Copying) -> Evidence:
    """Add what both kinds of reports share: sounds, moments, passages, settings and hashes."""
    store = views.store
    heard = [pair for pair in evidence.pairs if pair.place is not None][:HEARD_PAIRS]
    clips = list(dict.fromkeys(pair.clip.clip_id for pair in heard)) or [view.clip_id]
    tracks = store.tracks.read_many([one.track_id for one in copying.passages])
    titles = {track_id: track.title for track_id, track in tracks.items()}
    track_details = store.tracks.read_provenance(sorted({pair.track.track_id for pair in evidence.rows}))
    return replace(
        evidence,
        passages=tuple(evidence_text.describe_passage(one, titles.get(one.track_id, "")) for one in copying.passages),
        excerpts=(
            *(_embed_clip_and_tracks(views, clip_id, heard) for clip_id in clips),
            *_embed_passages(views, copying.passages[:HEARD_PASSAGES], titles),
        ),
        charts=(*evidence.charts, *_draw_strips(views, view, heard)),
        settings=list_settings(store, view.method.method_id),
        hashes=list_hashes(store, clips, [pair.track.track_id for pair in heard], track_details),
        track_details=track_details,
    )


def _embed_clip_and_tracks(views: StoreViews, clip_id: int, heard: Sequence[PairDetails]) -> tuple[SoundExcerpt, ...]:
    """A clip and those of its tracks that are among the pairs `heard`."""
    clip_title = f"Clip {clip_id}: {name_clip(views.clip_by_id[clip_id])}"
    tracks = [(pair.track, pair.track_at) for pair in heard if pair.clip.clip_id == clip_id]
    return (
        _embed_sound(views, "clip", clip_id, None, clip_title),
        *(
            _embed_sound(views, "track", track.track_id, at, f"Track {track.track_id}: {track.title}")
            for track, at in tracks
        ),
    )


def _embed_passages(
    views: StoreViews, passages: Sequence[CopiedPassage], titles: Mapping[int, str]
) -> list[tuple[SoundExcerpt, ...]]:
    """The clip's and the track's part of each passage. `titles`: by track id."""
    return [
        (
            _embed_sound(views, "clip", one.clip_id, one.clip, f"Passage {number}, clip {one.clip_id}"),
            _embed_sound(
                views, "track", one.track_id, one.track, f"Passage {number}, “{titles.get(one.track_id, '')}”"
            ),
        )
        for number, one in enumerate(passages, start=1)
    ]


def _embed_sound(
    views: StoreViews, kind: str, item_id: int, at: tuple[float, float] | None, title: str
) -> SoundExcerpt:
    try:
        media_type, data, from_s, to_s = embed_sound(views.store, kind, item_id, at[0] if at else 0.0)
    except SoundRefusedError as error:
        return SoundExcerpt(title, f"not embedded: {error}")
    where = f"{format_span((from_s, to_s))} of it"
    return SoundExcerpt(title, f"{where}, from its strongest moment on" if at and from_s else where, media_type, data)


def _draw_strips(views: StoreViews, view: View, heard: Sequence[PairDetails]) -> list[Chart]:
    """Influence over the clip and over the track, of the pairs whose sound is embedded."""
    details = views.store.scores.read_pairs(
        view.method.method_id, [(pair.clip.clip_id, pair.track.track_id) for pair in heard]
    )
    charts = []
    for pair, row in zip(heard, details, strict=True):
        strips = []
        if row["windows"]:
            strips.append(MomentStrip("clip", row["windows"], len(row["windows"]) * row["window_s"]))
        if row["moments"]:
            strips.append(MomentStrip("track", row["moments"], len(row["moments"]) / row["rate_hz"]))
        if strips:
            charts.append(
                Chart(
                    f"Where: clip {pair.clip.clip_id} and “{pair.track.title}”",
                    draw_moments(strips),
                    evidence_text.MOMENTS_CAPTION,
                )
            )
    return charts
