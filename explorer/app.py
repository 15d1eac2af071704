"""The page: widgets and wiring, nothing else. Content: listen/, holders/, methods/, text/. Look: page.css."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import orjson

from explorer.components.comparison import MethodComparison
from explorer.components.curve import ScoreCurve
from explorer.components.diagnostics import ScoreDiagnostics
from explorer.components.downloads import Downloads
from explorer.components.form import ClipForm
from explorer.components.hard_cases import HardCases
from explorer.components.holders import HolderList
from explorer.components.link import ViewLink
from explorer.components.methods import MethodList
from explorer.components.notes import NoteList
from explorer.components.overview import ClipOverview
from explorer.components.player import Player
from explorer.components.resemblance import TrackResemblance
from explorer.components.table import TrackTable
from explorer.components.text import Text
from explorer.components.theme import ThemeSwitch
from explorer.holders.page import HoldersPage, list_downloads
from explorer.listen.page import ListenPage
from explorer.methods.page import MethodsPage
from explorer.state.events import EventHandler
from explorer.state.store_views import StoreViews
from explorer.state.view import TABS, BadEventError, View
from explorer.store.errors import StoreDamagedError
from explorer.store.ranking import NORMALISED, RAW
from explorer.text.scores import CAVEAT, DAMAGED

log = logging.getLogger("explorer")

EVENTS_AT_ONCE = 4  # of all listeners; more than some cores can work at only get in each other's way

HERE = Path(__file__).parent
PAGE_CSS = (HERE / "page.css").read_text(encoding="utf-8")
GUIDE, GLOSSARY = ((HERE / "text" / name).read_text(encoding="utf-8") for name in ("guide.md", "glossary.md"))
SIGN_OUT = '<form method="post" action="/signout"><button>Sign out</button></form>'
_FONTS = ("Inter", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def build_theme() -> gr.themes.Base:
    """Own colours; fonts of our own or of the system: nothing is fetched from elsewhere."""
    return gr.themes.Base(primary_hue="teal", neutral_hue="stone", radius_size="lg", font=_FONTS, font_mono=_MONO).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        background_fill_primary_dark="*neutral_900",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        color_accent="*primary_600",
        block_border_width="0px",
        block_shadow="none",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
    )


@dataclass(frozen=True)
class _ListenTab:
    clip: gr.Dropdown
    method: gr.Dropdown
    verdict: Text
    player: Player
    resemblance: TrackResemblance
    order: gr.Radio
    summary: Text
    curve: ScoreCurve
    table: TrackTable
    report: Downloads
    about: Text


@dataclass(frozen=True)
class _CompareTab:
    comparison: MethodComparison
    heat_text: Text
    heat: gr.Plot
    methods: MethodList


@dataclass(frozen=True)
class _CasesTab:
    cases: HardCases
    diagnostics: ScoreDiagnostics
    notes: NoteList


@dataclass(frozen=True)
class _Parts:
    """Everything on the page that shows a value of the view, or sends events."""

    link: ViewLink
    tabs: gr.Tabs
    listen: _ListenTab
    gallery: ClipOverview
    holders: HolderList
    compare: _CompareTab
    cases: _CasesTab


def set_up_gradio() -> None:
    """Switch off what Gradio collects; it reads these when a page is built."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # After every event its queue would sum up the last 10,000 for a dashboard that is closed here: 20 ms and more.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))


def build_app(views: StoreViews, can_sign_out: bool = False, own_clips: bool = False) -> gr.Blocks:
    """The page over one store; with a password it offers to sign out. `own_clips`: listeners may bring some."""
    set_up_gradio()
    with gr.Blocks(title="Whence", fill_width=True, analytics_enabled=False) as blocks:
        page = ListenPage(views)
        parts = _build_parts(views, page, can_sign_out, own_clips)
        renderers = _choose_renderers(parts, views, page)
        if own_clips:  # the list may have grown since the page was built; Gradio checks a choice against it
            renderers[parts.listen.clip] = lambda view: gr.Dropdown(choices=page.list_choices(), value=view.clip_id)
        _wire_events(blocks, parts, renderers, views, page)
    blocks.queue()
    return blocks


def _build_parts(views: StoreViews, page: ListenPage, can_sign_out: bool, own_clips: bool) -> _Parts:
    with gr.Row(elem_id="top"):
        gr.Markdown("# Whence\nWhose music is in this generated clip?", elem_id="name")
        if can_sign_out:
            gr.HTML(SIGN_OUT, elem_id="signout")
        ThemeSwitch(elem_id="theme")
        link = ViewLink(elem_id="link")
    if views.store.info.note:
        Text([f"About this store: {views.store.info.note}"], elem_id="note")
    with gr.Tabs(elem_id="tabs") as tabs:
        with gr.Tab("Listen", id="listen"):
            listen = _build_listen_tab(views, page, own_clips)
        with gr.Tab("All clips", id="clips"), gr.Column(elem_classes="card"):
            gallery = ClipOverview(elem_id="overview")
        with gr.Tab("Holders", id="holders"), gr.Column(elem_classes="card"):
            gr.Markdown("## What of ours, and how sure?")
            holders = HolderList(elem_id="holders")
        with gr.Tab("Compare", id="compare"):
            compare = _build_compare_tab(len(views.methods) > 1)
        with gr.Tab("Where is it wrong", id="wrong"):
            cases = _build_cases_tab()
        with gr.Tab("How to read this", id="guide"), gr.Row(elem_id="guide"):
            for text in (GUIDE, GLOSSARY):
                with gr.Column(elem_classes="card"):
                    gr.Markdown(text)
    return _Parts(link, tabs, listen, gallery, holders, compare, cases)


def _build_listen_tab(views: StoreViews, page: ListenPage, own_clips: bool) -> _ListenTab:
    with gr.Row(elem_id="choice"):
        clip = gr.Dropdown(page.list_choices(), label="Clip", elem_id="clip", scale=3, min_width=280)
        method = gr.Dropdown(
            [(item.label, item.name) for item in views.methods],
            label="Method",
            elem_id="method",
            visible=len(views.methods) > 1,
            scale=1,
            min_width=160,
        )
    verdict = Text(elem_id="verdict")
    with gr.Column(elem_classes="card"):
        player = Player(elem_id="player")
    with gr.Column(elem_classes="card"):
        gr.Markdown("## Why this track? Resemblance, apart from influence")
        resemblance = TrackResemblance(elem_id="resemblance")
    with gr.Column(elem_classes="card"):
        gr.Markdown("## How the score is spread")
        order = gr.Radio(
            [("normalised scores", NORMALISED), ("raw scores", RAW)],
            value=NORMALISED,
            label="Order by",
            show_label=False,
            container=False,
            elem_id="order",
        )
        summary = Text(elem_id="summary")
        curve = ScoreCurve(elem_id="curve")
    with gr.Column(elem_classes="card"):
        gr.Markdown("## Tracks")
        table = TrackTable(elem_id="table")
        Text(list(CAVEAT), elem_id="caveat")
        report = Downloads(elem_id="report")
    if own_clips:
        with gr.Accordion("A clip of your own", open=False, elem_id="own"):
            ClipForm(elem_id="form")
    with gr.Accordion("What this run found about itself", open=False, elem_id="about"):
        about = Text(elem_id="findings")
    return _ListenTab(clip, method, verdict, player, resemblance, order, summary, curve, table, report, about)


def _build_compare_tab(several_methods: bool) -> _CompareTab:
    with gr.Column(elem_classes="card"):
        gr.Markdown("## Two methods on one clip")
        comparison = MethodComparison(elem_id="comparison")
    with gr.Column(elem_classes="card"):
        gr.Markdown("## How far methods agree")
        heat_text = Text(elem_id="heat-text")
        heat = gr.Plot(show_label=False, container=False, elem_id="heat", visible=several_methods)
    with gr.Column(elem_classes="card"):
        gr.Markdown("## The methods: what they are, cost, and how they did")
        methods = MethodList(elem_id="methods")
    return _CompareTab(comparison, heat_text, heat, methods)


def _build_cases_tab() -> _CasesTab:
    with gr.Column(elem_classes="card"):
        gr.Markdown("## Hard cases")
        cases = HardCases(elem_id="cases")
    with gr.Column(elem_classes="card"):
        gr.Markdown("## Behind the scores")
        diagnostics = ScoreDiagnostics(elem_id="diagnostics")
    with gr.Column(elem_classes="card"):
        gr.Markdown("## Notes")
        notes = NoteList(elem_id="notes")
    return _CasesTab(cases, diagnostics, notes)


def _choose_renderers(parts: _Parts, views: StoreViews, page: ListenPage) -> dict[Any, Callable[[View], Any]]:
    """Part of the page -> the function that gives its value for a view. An event names the parts that it changes."""
    methods_page, holders_page = MethodsPage(views), HoldersPage(views)
    listen, compare, cases = parts.listen, parts.compare, parts.cases
    return {
        parts.link: View.query,
        parts.tabs: lambda view: gr.Tabs(selected=view.tab),
        listen.clip: lambda view: view.clip_id,
        listen.method: lambda view: view.method.name,
        listen.order: lambda view: gr.Radio(value=view.order, visible=view.span is None),
        listen.verdict: page.describe_verdict,
        listen.player: page.describe_player,
        listen.summary: page.describe_summary,
        listen.curve: page.describe_curve,
        listen.table: page.compact_table,
        listen.about: page.describe_about,
        listen.resemblance: page.describe_resemblance,
        listen.report: lambda view: list_downloads("clip", {"clip": view.clip_id, "method": view.method.name}),
        parts.gallery: page.describe_overview,
        compare.comparison: methods_page.describe_comparison,
        compare.heat_text: methods_page.describe_heat_text,
        compare.heat: methods_page.describe_heat,
        compare.methods: methods_page.describe_methods,
        cases.cases: methods_page.describe_cases,
        cases.diagnostics: methods_page.describe_diagnostics,
        cases.notes: methods_page.describe_notes,
        parts.holders: lambda view: holders_page.describe_holders(view) if view.tab == "holders" else None,
    }


def _wire_events(
    blocks: gr.Blocks,
    parts: _Parts,
    renderers: dict[Any, Callable[[View], Any]],
    views: StoreViews,
    page: ListenPage,
) -> None:
    """Connect every event of a part with the next view, and with the parts that show something of it."""
    events = EventHandler(views)
    link, tabs, listen, compare, cases = parts.link, parts.tabs, parts.listen, parts.compare, parts.cases
    everything = list(renderers)
    ranked = [
        link,
        listen.order,
        listen.verdict,
        listen.player,
        listen.summary,
        listen.curve,
        listen.table,
        listen.resemblance,
    ]
    # Of tabs that work when opened.
    studied = [
        compare.comparison,
        compare.heat_text,
        compare.heat,
        compare.methods,
        cases.cases,
        cases.diagnostics,
        cases.notes,
    ]
    options: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "postprocess": False,  # values are ready as they are: else Gradio hands each to a thread of its own
        "concurrency_id": "page",
        "concurrency_limit": EVENTS_AT_ONCE,
    }

    def show(view: View, changed: list[Any]) -> list[Any]:
        return [_pack(renderers[part](view)) for part in changed]

    def on_value(listener: Any, choose: Callable[[View, Any], View], source: Any, changed: list[Any]) -> None:
        """`choose` gets the view that the page is at, and the new value of `source`."""

        def handle(query: Any, value: Any) -> list[Any]:
            with _word_errors():
                return show(choose(views.read_query(query), value), changed)

        listener(handle, [link, source], changed, trigger_mode="always_last", **options)

    def on_event(listener: Any, choose: Callable[[View, dict[str, Any]], View], changed: list[Any]) -> None:
        """`choose` gets the view that the page is at, and the data that a part's script sent."""

        # The client chooses what an event holds: every `choose` checks it.
        def handle(query: Any, event: gr.EventData) -> list[Any]:
            data = event._data if isinstance(event._data, dict) else {}
            with _word_errors():
                return show(choose(views.read_query(query), data), changed)

        listener(handle, [link], changed, trigger_mode="always_last", **options)

    def load(request: gr.Request) -> list[Any]:
        with _word_errors():
            listen.clip.choices = [*page.list_choices()]
            return show(views.read_address(dict(request.query_params)), everything)

    def on_tab(query: Any, event: gr.SelectData) -> list[Any]:
        tab = TABS[event.index] if event.index in range(len(TABS)) else TABS[0]
        with _word_errors():
            return show(events.choose_tab(views.read_query(query), tab), [link, parts.holders, *studied])

    blocks.load(load, None, everything, **options)
    on_event(link.visit, events.visit, everything)
    tabs.select(on_tab, [link], [link, parts.holders, *studied], **options)
    on_value(listen.clip.input, events.choose_clip, listen.clip, [*ranked, parts.gallery, listen.report])
    on_value(listen.method.input, events.choose_method, listen.method, everything)
    on_value(listen.order.input, events.choose_order, listen.order, ranked)
    on_event(parts.gallery.open, events.open_clip, everything)
    on_event(listen.player.span, events.choose_span, ranked)
    on_event(listen.player.drop, events.drop_track, [link, listen.player, listen.resemblance])
    on_event(listen.curve.pick, events.choose_place, [link, listen.player, listen.resemblance])
    on_event(listen.table.choose, events.choose_track, [link, listen.player, listen.curve, listen.resemblance])
    on_event(listen.table.ask, events.ask_table, [link, listen.table])
    on_event(compare.comparison.choose, events.choose_pair, everything)
    on_event(cases.cases.ask, events.ask_cases, everything)
    for part in (compare.comparison, cases.cases, cases.diagnostics, cases.notes):
        on_event(part.open, events.open_case, everything)
    on_event(parts.holders.ask, events.ask_holders, [link, parts.holders])
    on_event(parts.holders.switch, events.switch_method, everything)
    on_event(parts.holders.hear, events.hear_pair, everything)


def _pack(value: Any) -> Any:
    """Turn lists and dicts into JSON, in the event's own thread.

    In the loop that serves everybody, Gradio would walk through each of their thousands of numbers three times, in
    search of files.
    """
    return orjson.Fragment(orjson.dumps(value)) if isinstance(value, (list, dict)) else value


@contextmanager
def _word_errors() -> Iterator[None]:
    """An event that is bad, or needs what is damaged in the store, becomes a short message on the page."""
    try:
        yield
    except BadEventError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except StoreDamagedError as error:
        log.error("%s", error)
        raise gr.Error(DAMAGED, print_exception=False) from error
