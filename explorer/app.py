"""The page: widgets and wiring, nothing else. What it says is in callbacks.py, how it looks in page.css."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from explorer.callbacks import CAVEAT, BadEventError, Callbacks, View, clip_label
from explorer.charts import NORMALISED, RAW
from explorer.components.curve import ScoreCurve
from explorer.components.player import Audition
from explorer.components.text import Text, ViewLink

PAGE_CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
_WIDTHS: list[int | str] = [44, 175, 125, 140, 165, 205, 230, 60, 140, 60]  # px, by column of table.table


def theme() -> gr.themes.Base:
    """Own colours, the system's fonts: nothing is fetched from elsewhere."""
    return gr.themes.Base(primary_hue="teal", neutral_hue="stone", radius_size="lg", font=_FONTS, font_mono=_MONO).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
        color_accent="*primary_600",
        block_border_width="0px",
        block_shadow="none",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
    )


def build_app(callbacks: Callbacks) -> gr.Blocks:
    """The page over one store."""
    info = callbacks.store.info
    with gr.Blocks(title="Whence", fill_width=True, analytics_enabled=False) as blocks:
        with gr.Row(elem_id="top"):
            gr.Markdown("# Whence\nWhose music is in this generated clip?", elem_id="name")
            link = ViewLink(elem_id="link")
        if info.note:
            Text([f"About this store: {info.note}"], elem_id="note")
        with gr.Row(elem_id="choice"):
            clip = gr.Dropdown(
                [(clip_label(item), item.clip_id) for item in callbacks.clips],
                label="Clip",
                elem_id="clip",
                scale=3,
                min_width=300,
            )
            method = gr.Dropdown(
                [(item.label, item.name) for item in callbacks.methods],
                label="Method",
                elem_id="method",
                scale=1,
            )
        verdict = Text(elem_id="verdict")
        with gr.Column(elem_classes="card"):
            player = Audition(elem_id="player")
        with gr.Column(elem_classes="card"):
            gr.Markdown("## Influence score, strongest first")
            order = gr.Radio(
                [("normalised scores", NORMALISED), ("raw scores", RAW)],
                value=NORMALISED,
                label="Order by",
                show_label=False,
                container=False,
                elem_id="order",
            )
            curve = ScoreCurve(elem_id="curve")
            summary = Text(elem_id="summary")
        with gr.Column(elem_classes="card"):
            gr.Markdown("## Top tracks")
            decoys = gr.Checkbox(
                False, label="show decoys (never heard by the model)", container=False, elem_id="decoys"
            )
            table = gr.Dataframe(
                interactive=False,
                elem_id="table",
                show_label=False,
                column_widths=_WIDTHS,
                max_height=460,
                buttons=[],
            )
            Text([CAVEAT], elem_id="caveat")
        with gr.Accordion("What this run found about itself", open=False, elem_id="about"):
            about = Text(elem_id="findings")

        controls = [clip, method, order, decoys]
        rendered = [verdict, player, curve, summary, table, about, link]
        chosen = gr.State(None)  # the track on show: every other part of the view is in a control
        options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

        def show(view: View) -> list[Any]:
            page, found = callbacks.page(view), callbacks.about(view)
            return [page.verdict, page.player, page.curve, page.summary, page.table, found, page.link]

        def load(request: gr.Request) -> list[Any]:
            view = callbacks.view_of(dict(request.query_params))
            return [view.clip_id, view.method.name, view.order, view.decoys, *show(view), view.track_id]

        def on_clip(*values: Any) -> list[Any]:
            view = _checked(callbacks.choose_clip, *values)
            return [*show(view), view.track_id]

        def on_control(*values: Any) -> list[Any]:
            view = _checked(callbacks.choose, *values)
            return [*show(view), view.track_id]

        def choose_track(track: object, values: tuple[Any, ...]) -> list[Any]:
            """The table stays as it is: redrawing it would lose the listener's sorting and scrolling."""
            view = _checked(callbacks.choose, *values, track)
            page = callbacks.page(view)
            return [page.player, page.curve, page.link, view.track_id]

        # The client chooses what an event holds: callbacks.choose checks it.
        def on_point(clip_id: Any, name: Any, by: Any, listed: Any, event: gr.EventData) -> list[Any]:
            data = event._data
            track = data.get("track_id") if isinstance(data, dict) else None
            return choose_track(track, (clip_id, name, by, listed))

        def on_row(clip_id: Any, name: Any, by: Any, listed: Any, event: gr.SelectData) -> list[Any]:
            row = event.row_value
            track = row[-1] if isinstance(row, list) and row else None  # the last column holds the id
            return choose_track(track, (clip_id, name, by, listed))

        blocks.load(load, None, [*controls, *rendered, chosen], **options)
        clip.input(on_clip, controls, [*rendered, chosen], trigger_mode="always_last", **options)
        for control in (method, order, decoys):
            control.input(on_control, [*controls, chosen], [*rendered, chosen], trigger_mode="always_last", **options)
        picked = [player, curve, link, chosen]
        curve.pick(on_point, controls, picked, trigger_mode="always_last", **options)
        table.select(on_row, controls, picked, trigger_mode="always_last", **options)
    blocks.queue(default_concurrency_limit=8)  # Gradio's own default is one listener at a time
    return blocks


def _checked(choose: Callable[..., View], *values: Any) -> View:
    """A bad event becomes a short message on the page instead of a failure in the log."""
    try:
        return choose(*values)
    except BadEventError as error:
        raise gr.Error(str(error), print_exception=False) from error
