"""The page: widgets and wiring, nothing else. What it says is in callbacks.py, how it looks in page.css."""

from __future__ import annotations

import os
from collections.abc import Callable
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
from explorer.holders.page import HoldersPage, downloads
from explorer.listen.page import CAVEAT, ListenPage
from explorer.methods.page import MethodsPage
from explorer.state.callbacks import Callbacks
from explorer.state.view import TABS, BadEventError, View
from explorer.store.ranking import NORMALISED, RAW

# After every event Gradio's queue would sum up its last 10,000 for a dashboard that is closed here: 20 ms and more.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))

EVENTS_AT_ONCE = 4  # of all listeners; more than some cores can work at only get in each other's way

HERE = Path(__file__).parent
PAGE_CSS = (HERE / "page.css").read_text(encoding="utf-8")
GUIDE, GLOSSARY = ((HERE / "text" / name).read_text(encoding="utf-8") for name in ("guide.md", "glossary.md"))
SIGN_OUT = '<form method="post" action="/signout"><button>Sign out</button></form>'
_FONTS = ("Inter", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
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


def build_app(callbacks: Callbacks, can_sign_out: bool = False, own_clips: bool = False) -> gr.Blocks:
    """The page over one store; with a password it offers to sign out. `own_clips`: listeners may bring some."""
    page, study, info = ListenPage(callbacks), MethodsPage(callbacks), callbacks.store.info
    holders_page = HoldersPage(callbacks)
    with gr.Blocks(title="Whence", fill_width=True, analytics_enabled=False) as blocks:
        with gr.Row(elem_id="top"):
            gr.Markdown("# Whence\nWhose music is in this generated clip?", elem_id="name")
            if can_sign_out:
                gr.HTML(SIGN_OUT, elem_id="signout")
            ThemeSwitch(elem_id="theme")
            link = ViewLink(elem_id="link")
        if info.note:
            Text([f"About this store: {info.note}"], elem_id="note")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Listen", id="listen"):
                with gr.Row(elem_id="choice"):
                    clip = gr.Dropdown(
                        page.choices(),
                        label="Clip",
                        elem_id="clip",
                        scale=3,
                        min_width=280,
                    )
                    method = gr.Dropdown(
                        [(item.label, item.name) for item in callbacks.methods],
                        label="Method",
                        elem_id="method",
                        visible=len(callbacks.methods) > 1,
                        scale=1,
                        min_width=160,
                    )
                verdict = Text(elem_id="verdict")
                with gr.Column(elem_classes="card"):
                    player = Player(elem_id="player")
                with gr.Column(elem_classes="card"):
                    gr.Markdown("## Why this track? Resemblance, apart from influence")
                    why = TrackResemblance(elem_id="why")
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
                    Text([CAVEAT], elem_id="caveat")
                    report = Downloads(elem_id="report")
                if own_clips:
                    with gr.Accordion("A clip of your own", open=False, elem_id="own"):
                        ClipForm(elem_id="form")
                with gr.Accordion("What this run found about itself", open=False, elem_id="about"):
                    about = Text(elem_id="findings")
            with gr.Tab("All clips", id="clips"), gr.Column(elem_classes="card"):
                gallery = ClipOverview(elem_id="overview")
            with gr.Tab("Holders", id="holders"), gr.Column(elem_classes="card"):
                gr.Markdown("## What of ours, and how sure?")
                holders = HolderList(elem_id="holders")
            with gr.Tab("Compare", id="compare"):
                with gr.Column(elem_classes="card"):
                    gr.Markdown("## Two methods on one clip")
                    comparison = MethodComparison(elem_id="comparison")
                with gr.Column(elem_classes="card"):
                    gr.Markdown("## How far methods agree")
                    heat_text = Text(elem_id="heat-text")
                    heat = gr.Plot(
                        show_label=False, container=False, elem_id="heat", visible=len(callbacks.methods) > 1
                    )
                with gr.Column(elem_classes="card"):
                    gr.Markdown("## The methods: what they are, cost, and how they did")
                    methods = MethodList(elem_id="methods")
            with gr.Tab("Where is it wrong", id="wrong"):
                with gr.Column(elem_classes="card"):
                    gr.Markdown("## Hard cases")
                    cases = HardCases(elem_id="cases")
                with gr.Column(elem_classes="card"):
                    gr.Markdown("## Behind the scores")
                    behind = ScoreDiagnostics(elem_id="behind")
                with gr.Column(elem_classes="card"):
                    gr.Markdown("## Notes")
                    notes = NoteList(elem_id="notes")
            with gr.Tab("How to read this", id="guide"), gr.Row(elem_id="guide"):
                for text in (GUIDE, GLOSSARY):
                    with gr.Column(elem_classes="card"):
                        gr.Markdown(text)

        # Part of the page -> its value for a view. An event names the parts that it changes.
        render: dict[Any, Callable[[View], Any]] = {
            link: View.query,
            tabs: lambda view: gr.Tabs(selected=view.tab),
            clip: lambda view: view.clip_id,
            method: lambda view: view.method.name,
            order: lambda view: gr.Radio(value=view.order, visible=view.span is None),
            verdict: page.verdict,
            player: page.player,
            summary: page.summary,
            curve: page.curve,
            table: page.table_sent,
            gallery: page.overview,
            about: page.about,
            why: study.why,
            comparison: study.compare,
            heat_text: study.heat_text,
            heat: study.heat,
            methods: study.methods,
            cases: study.cases,
            behind: study.behind,
            notes: study.notes,
            report: lambda view: downloads("clip", {"clip": view.clip_id, "method": view.method.name}),
            holders: lambda view: holders_page.value(view) if view.tab == "holders" else None,
        }
        everything = list(render)
        if own_clips:  # the list may have grown since the page was built; Gradio checks a choice against it
            render[clip] = lambda view: gr.Dropdown(choices=page.choices(), value=view.clip_id)
        ranked = [link, order, verdict, player, summary, curve, table, why]
        studied = [comparison, heat_text, heat, methods, cases, behind, notes]  # of tabs that work when opened
        options: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "postprocess": False,  # values are ready as they are: else Gradio hands each to a thread of its own
            "concurrency_id": "page",
            "concurrency_limit": EVENTS_AT_ONCE,
        }

        def show(view: View, parts: list[Any]) -> list[Any]:
            return [_packed(render[part](view)) for part in parts]

        def on(listener: Any, choose: Callable[[View, Any], View], source: Any, parts: list[Any]) -> None:
            """`choose` gets the view that the page is at, and the new value of `source`."""

            def handle(query: Any, value: Any) -> list[Any]:
                return show(_checked(callbacks, query, choose, value), parts)

            listener(handle, [link, source], parts, trigger_mode="always_last", **options)

        def on_event(listener: Any, choose: Callable[[View, dict[str, Any]], View], parts: list[Any]) -> None:
            """`choose` gets the view that the page is at, and the data that a part's script sent."""

            # The client chooses what an event holds: every `choose` checks it.
            def handle(query: Any, event: gr.EventData) -> list[Any]:
                data = event._data if isinstance(event._data, dict) else {}
                return show(_checked(callbacks, query, choose, data), parts)

            listener(handle, [link], parts, trigger_mode="always_last", **options)

        def load(request: gr.Request) -> list[Any]:
            clip.choices = [*page.choices()]
            return show(callbacks.view_of(dict(request.query_params)), everything)

        def on_tab(query: Any, event: gr.SelectData) -> list[Any]:
            tab = TABS[event.index] if event.index in range(len(TABS)) else TABS[0]
            return show(_checked(callbacks, query, callbacks.choose_tab, tab), [link, holders, *studied])

        blocks.load(load, None, everything, **options)
        on_event(link.visit, callbacks.visit, everything)
        tabs.select(on_tab, [link], [link, holders, *studied], **options)
        on(clip.input, callbacks.choose_clip, clip, [*ranked, gallery, report])
        on(method.input, callbacks.choose_method, method, everything)
        on(order.input, callbacks.choose_order, order, ranked)
        on_event(gallery.open, callbacks.open_clip, everything)
        on_event(player.span, callbacks.choose_span, ranked)
        on_event(player.drop, callbacks.drop_track, [link, player, why])
        on_event(curve.pick, callbacks.choose_place, [link, player, why])
        on_event(table.choose, callbacks.choose_track, [link, player, curve, why])
        on_event(comparison.choose, callbacks.choose_pair, everything)
        on_event(cases.ask, callbacks.ask_cases, everything)
        for part in (comparison, cases, behind, notes):
            on_event(part.open, callbacks.open_case, everything)
        on_event(table.ask, callbacks.ask, [link, table])
        on_event(holders.ask, callbacks.ask_holders, [link, holders])
        on_event(holders.switch, callbacks.switch_method, everything)
        on_event(holders.hear, callbacks.hear_pair, everything)
    blocks.queue()
    return blocks


def _packed(value: Any) -> Any:
    """Lists and dicts as JSON, made here in the event's own thread: in the loop that serves everybody, Gradio would
    walk through each of their thousands of numbers three times, in search of files."""
    return orjson.Fragment(orjson.dumps(value)) if isinstance(value, (list, dict)) else value


def _checked(callbacks: Callbacks, query: Any, choose: Callable[[View, Any], View], value: Any) -> View:
    """A bad event becomes a short message on the page instead of a failure in the log."""
    try:
        return choose(callbacks.view_at(query), value)
    except BadEventError as error:
        raise gr.Error(str(error), print_exception=False) from error
