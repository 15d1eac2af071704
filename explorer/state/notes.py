"""The subject of a listener's note: a run, a clip and a method. The notes themselves stay in the browser."""

from __future__ import annotations

from typing import Any

from explorer.state.store_views import StoreViews
from explorer.state.view import View
from explorer.store import Store
from explorer.text.clips import name_clip

CLIP_CHARS = 80


def name_run(store: Store) -> str:
    """A name of the run that made the store, so that notes on another run are not shown with it."""
    run = store.runs.read_latest()
    return f"{run.model_sha256[:12]}-{run.started_at:%Y%m%d%H%M%S}"


def describe_note_subject(views: StoreViews, view: View) -> dict[str, Any]:
    """The run, clip and method that a note written on this view is stored with."""
    return {
        "store": name_run(views.store),
        "clip_id": view.clip_id,
        "clip": name_clip(views.clip_by_id[view.clip_id])[:CLIP_CHARS],
        "method": view.method.name,
        "method_label": view.method.label,
    }
