"""Queries of the table of tracks, the list of hard cases and the page of rights holders: parts of the address.

A browser is not believed here: `of_event` checks what a page's script sent and raises ValueError with a plain sentence;
`of_address` takes what makes sense of an address and defaults for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from explorer.store.lift import COUNTS, NAME_CHARS

TEXT_CHARS, MAX_OFFSET = 200, 10_000_000
TABLE_ROWS = 100  # of a page of the table
TEXT_SORTS = ("title", "composer", "collection", "source")
SORTS = ("place", *TEXT_SORTS, "q", "error", "raw")  # error: of the normalised score
CASE_KINDS = ("disagree", "hubs", "decoys", "quiet", "short")
CASE_ROWS = 50
FIRST_PLACES = (10, 40, 100)  # how many places count as high up
HOLDER_GROUPS, HOLDER_PAIRS = 20, 25  # of a page: groups of tracks; pairs of clip and track of one group

_Query = TypeVar("_Query")


@dataclass(frozen=True)
class TableQuery:
    """A page of the table of tracks: its filters and order."""

    text: str = ""  # words that a track must hold
    collection: str | None = None  # None: any
    above: bool = False  # only above noise
    decoys: bool = False  # list decoys too
    sort: str = "place"  # one of SORTS
    descending: bool = False  # from the last place, from Z, from the largest q or error, from the least raw score
    offset: int = 0  # rows before this page; a multiple of TABLE_ROWS
    works: bool = False  # one row a work: its first rendering

    @classmethod
    def of_event(cls, asked: object) -> TableQuery:
        """Check what a browser sent; a missing key takes its default. Raises ValueError."""
        query = _fill(cls, asked, "the table")
        _check_text(query.text, "a filter", TEXT_CHARS)
        if query.collection is not None and not is_text(query.collection):
            raise ValueError("a collection is named by a text")
        if not all(isinstance(flag, bool) for flag in (query.above, query.decoys, query.descending, query.works)):
            raise ValueError("a choice of the table is either on or off")
        if query.sort not in SORTS:
            raise ValueError(f"the table sorts by {', '.join(SORTS[:-1])} or {SORTS[-1]}")
        _check_offset(query.offset, TABLE_ROWS, "the table")
        return query

    @classmethod
    def of_address(cls, parts: Mapping[str, str]) -> TableQuery:
        """Read the parts of an address, as far as they make sense."""
        asked = {
            "text": parts.get("find", ""),
            "collection": parts.get("in") or None,
            "above": parts.get("above") == "1",
            "decoys": parts.get("decoys") == "1",
            "sort": parts.get("sort", cls.sort),
            "descending": parts.get("down") == "1",
            "works": parts.get("works") == "1",
            "offset": _parse_count(parts.get("from", "0"), 0),
        }
        return _fill_or_default(cls, asked)

    def to_address(self) -> dict[str, Any]:
        """The parts of an address that name it; defaults are left out."""
        sort = self.sort if self.sort != TableQuery.sort else None
        parts: dict[str, Any] = {"find": self.text, "in": self.collection, "sort": sort, "from": self.offset}
        flags = {"above": self.above, "decoys": self.decoys, "down": self.descending, "works": self.works}
        parts |= {key: 1 for key, value in flags.items() if value}
        return {key: value for key, value in parts.items() if value}

    @property
    def by(self) -> str | None:
        """The column that `TrackReader.find` sorts by; None where the ranking or a number gives the order."""
        return self.sort if self.sort in TEXT_SORTS else None

    @property
    def finds(self) -> bool:
        """True where the rows depend on what `TrackReader.find` finds."""
        return bool(self.text.strip()) or self.collection is not None or self.by is not None

    def within(self, total: int) -> TableQuery:
        """Moved back to the last page of `total` rows where it lies past it."""
        return replace(self, offset=min(self.offset, max(0, total - 1) // TABLE_ROWS * TABLE_ROWS))


@dataclass(frozen=True)
class CaseQuery:
    """A page of one of the lists of hard cases."""

    kind: str = "hubs"  # one of CASE_KINDS
    first: int = FIRST_PLACES[0]  # one of FIRST_PLACES
    text: str = ""  # words that a row must hold
    offset: int = 0  # rows before this page; a multiple of CASE_ROWS

    @classmethod
    def of_event(cls, asked: object) -> CaseQuery:
        """Check what a browser sent; a missing key takes its default. Raises ValueError."""
        query = _fill(cls, asked, "the list of hard cases")
        if query.kind not in CASE_KINDS:
            raise ValueError(f"the hard cases are {', '.join(CASE_KINDS)}")
        if isinstance(query.first, bool) or query.first not in FIRST_PLACES:
            raise ValueError("high up means the first 10, 40 or 100")
        _check_text(query.text, "a filter", TEXT_CHARS)
        _check_offset(query.offset, CASE_ROWS, "the list")
        return query

    @classmethod
    def of_address(cls, parts: Mapping[str, str]) -> CaseQuery:
        """Read the parts of an address, as far as they make sense."""
        asked = {
            "kind": parts.get("cases", cls.kind),
            "text": parts.get("holds", ""),
            "first": _parse_count(parts.get("first", ""), cls.first),
            "offset": _parse_count(parts.get("case", ""), 0),
        }
        return _fill_or_default(cls, asked)

    def to_address(self) -> dict[str, Any]:
        """The parts of an address that name it; defaults are left out."""
        return _non_defaults(self, {"kind": "cases", "first": "first", "text": "holds", "offset": "case"})


@dataclass(frozen=True)
class HolderQuery:
    """A page of the tab of rights holders: a grouping, and one of its groups."""

    grouping: str | None = None  # None: as suits the store
    name: str | None = None  # of the group that is looked at
    count: str = COUNTS[0]  # what coming up means
    find: str = ""  # words of a group's name
    offset: int = 0  # groups before this page; a multiple of HOLDER_GROUPS
    row: int = 0  # rows of the group before this page; a multiple of HOLDER_PAIRS
    within: str = ""  # words that a row must hold: of its track or its clip
    unlearn: bool = False  # say what unlearning the whole group would do

    @classmethod
    def of_event(cls, asked: object) -> HolderQuery:
        """Check what a browser sent; a missing key takes its default. Raises ValueError."""
        query = _fill(cls, asked, "the page of rights holders")
        for name in (query.grouping, query.name):
            if name is not None:
                _check_text(name, "a name", NAME_CHARS)
        for words in (query.find, query.within):
            _check_text(words, "a filter", TEXT_CHARS)
        if query.count not in COUNTS:
            raise ValueError("tracks come up by first places, or above noise")
        if not isinstance(query.unlearn, bool):
            raise ValueError("a catalogue is unlearned as a whole, or not")
        _check_offset(query.offset, HOLDER_GROUPS, "the list")
        _check_offset(query.row, HOLDER_PAIRS, "the list")
        return query

    @classmethod
    def of_address(cls, parts: Mapping[str, str]) -> HolderQuery:
        """Read the parts of an address, as far as they make sense."""
        asked: dict[str, Any] = {name: parts[key] for name, key in _HOLDER_KEYS.items() if key in parts}
        for name in {"offset", "row"} & set(asked):
            asked[name] = _parse_count(asked[name], -1)
        return _fill_or_default(cls, {**asked, "unlearn": parts.get("unlearn") == "1"})

    def to_address(self) -> dict[str, Any]:
        """The parts of an address that name it; defaults are left out."""
        return _non_defaults(self, _HOLDER_KEYS) | ({"unlearn": 1} if self.unlearn else {})


_HOLDER_KEYS = {
    "grouping": "by",
    "name": "of",
    "count": "up",
    "find": "name",
    "offset": "page",
    "row": "rows",
    "within": "words",
}  # field -> its key in the address


def is_text(value: object) -> bool:
    """True for a string that the store can be asked for: half a surrogate pair has no UTF-8."""
    return isinstance(value, str) and value.encode("utf-8", "ignore").decode("utf-8") == value


def _fill(kind: type[_Query], asked: object, place: str) -> _Query:
    """The fields as sent, not checked yet. Raises ValueError for something else than a dict of known fields."""
    if not isinstance(asked, dict) or not set(asked) <= {field.name for field in fields(kind)}:  # type: ignore[arg-type]
        raise ValueError(f"{place} was asked for something that it does not know")
    return kind(**asked)


def _fill_or_default(kind: Any, asked: dict[str, Any]) -> Any:
    try:
        return kind.of_event(asked)
    except ValueError:
        return kind()


def _non_defaults(query: Any, keys: Mapping[str, str]) -> dict[str, Any]:
    """By key of the address: the fields that differ from their defaults."""
    default = type(query)()
    return {key: getattr(query, name) for name, key in keys.items() if getattr(query, name) != getattr(default, name)}


def _parse_count(text: str, otherwise: int) -> int:
    """A whole number of at most 8 digits, else `otherwise`."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else otherwise


def _check_text(value: object, name: str, most: int) -> None:
    if not is_text(value) or len(str(value)) > most:
        raise ValueError(f"{name} is a text of at most {most} characters")


def _check_offset(offset: object, step: int, place: str) -> None:
    whole = isinstance(offset, int) and not isinstance(offset, bool)
    if not whole or not 0 <= offset <= MAX_OFFSET or offset % step:  # type: ignore[operator]
        raise ValueError(f"a page of {place} begins at a multiple of {step}")
