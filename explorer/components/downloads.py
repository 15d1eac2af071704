"""Files to take along, as links."""

from __future__ import annotations

from typing import Any

from explorer.components import PagePart


class Downloads(PagePart):
    """Value: a list of {href, label}; the first is the one to press. Addresses are of this server."""

    def __init__(self, **options: Any) -> None:
        super().__init__("downloads", '<div class="downloads"></div>', **options)
