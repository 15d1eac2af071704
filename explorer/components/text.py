"""Plain paragraphs and the link of the view."""

from __future__ import annotations

from typing import Any

from explorer.components import Part


class Text(Part):
    """Value: a list of paragraphs. What they hold (titles, notes) is data, never markup."""

    def __init__(self, value: list[str] | None = None, **options: Any) -> None:
        super().__init__("text", '<div class="text"></div>', value=value, **options)


class ViewLink(Part):
    """Value: the query string of the view on show. Writes it into the address bar; copies the whole link."""

    def __init__(self, **options: Any) -> None:
        super().__init__("link", '<button type="button" class="copy">Copy link</button>', **options)
