"""Plain paragraphs."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart


class Text(PagePart):
    """Value: a list of paragraphs. What they hold (titles, notes) is data, never markup."""

    def __init__(self, value: list[str] | None = None, **options: Any) -> None:
        super().__init__("text", '<div class="text"></div>', value=value, **options)
