"""What the page of rights holders is asked for: part of a view, so of the address. A browser is not believed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from explorer.listen.table import MAX_OFFSET, TEXT_CHARS, is_text
from explorer.store.groups import COUNTS, NAME_CHARS

GROUPS_SHOWN, ROWS_SHOWN = 20, 25
_KEYS = {
    "grouping": "by",
    "name": "of",
    "count": "up",
    "find": "name",
    "offset": "page",
    "row": "rows",
    "within": "words",
}  # in the address


@dataclass(frozen=True)
class HolderQuery:
    grouping: str | None = None  # None: as suits the store
    name: str | None = None  # of the group that is looked at
    count: str = COUNTS[0]  # what coming up means
    find: str = ""  # words of a group's name
    offset: int = 0  # groups before this page
    row: int = 0  # rows of the group before this page
    within: str = ""  # words that a row must hold: of its track or its clip

    @classmethod
    def of(cls, asked: object) -> HolderQuery:
        """From what a browser sent: a missing key takes its default. Raises ValueError with a plain sentence."""
        if not isinstance(asked, dict) or not set(asked) <= {field.name for field in fields(cls)}:
            raise ValueError("the page of rights holders was asked for something that it does not know")
        query = cls(**asked)
        texts = (
            (query.grouping, NAME_CHARS),
            (query.name, NAME_CHARS),
            (query.find, TEXT_CHARS),
            (query.within, TEXT_CHARS),
        )
        for text, most in texts:
            if text is not None and (not is_text(text) or len(text) > most):
                raise ValueError(f"a name is a text of at most {most} characters")
        if query.find is None or query.within is None or query.count not in COUNTS:
            raise ValueError("tracks come up by first places, or above noise")
        for offset, step in ((query.offset, GROUPS_SHOWN), (query.row, ROWS_SHOWN)):
            whole = isinstance(offset, int) and not isinstance(offset, bool)
            if not whole or not 0 <= offset <= MAX_OFFSET or offset % step:
                raise ValueError(f"a page begins at a multiple of {step}")
        return query

    @classmethod
    def read(cls, parts: Mapping[str, str]) -> HolderQuery:
        """From the parts of an address, as far as they make sense."""
        asked: dict[str, Any] = {name: parts[key] for name, key in _KEYS.items() if key in parts}
        try:
            for name in {"offset", "row"} & set(asked):
                asked[name] = int(asked[name]) if asked[name].isdecimal() and len(asked[name]) < 9 else -1
            return cls.of(asked)
        except ValueError:
            return cls()

    def parts(self) -> dict[str, Any]:
        """For the address; defaults are left out."""
        default = HolderQuery()
        return {
            key: getattr(self, name) for name, key in _KEYS.items() if getattr(self, name) != getattr(default, name)
        }
