"""The address of the view: a button that copies it, and the browser’s history."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart


class ViewLink(PagePart):
    """Value: the query string of the view on show; it is the state of the page. Event: `visit` {query}."""

    def __init__(self, **options: Any) -> None:
        skeleton = '<button type="button" class="copy">Copy link</button>'
        super().__init__("link", skeleton, events=("visit",), **options)
