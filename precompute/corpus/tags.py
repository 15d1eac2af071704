"""The tags of a sound file: title, holders with their roles, ISRC, ISWC; read by tinytag. Nothing is guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROLES = {  # field of tinytag -> role in table `holders`
    "composer": "composer",
    "lyricist": "lyricist",
    "arranger": "arranger",
    "artist": "performer",
    "albumartist": "performer",
    "conductor": "conductor",
    "remixer": "remixer",
    "producer": "producer",
    "publisher": "publisher",
    "label": "label",
    "organization": "label",
    "copyright": "rights holder",
}
ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")  # ISO 3901
ISWC = re.compile(r"T[0-9]{10}")  # ISO 15707
SEVERAL = re.compile(r"\s*[;\0]\s*")  # several names in one tag


@dataclass(frozen=True)
class Tags:
    """Empty strings and tuples where the file does not say."""

    title: str = ""
    composer: str = ""
    album: str = ""
    holders: tuple[tuple[str, str], ...] = ()  # (name, role), each pair once
    isrc: str = ""
    iswc: str = ""

    def join_holders(self, role: str) -> str:
        """All holders of a role, joined for display."""
        return ", ".join(name for name, of in self.holders if of == role)


def read_tags(path: Path) -> Tags:
    """Tags of a file; none where it has none or they cannot be read."""
    from tinytag import TinyTag, TinyTagException

    try:
        tag = TinyTag.get(path, duration=False)
    except (TinyTagException, OSError, ValueError, UnicodeError, IndexError):
        return Tags()  # whether the file is sound at all is seen when it is decoded
    fields = {name: values for name, values in tag.as_dict().items() if isinstance(values, list) and values}
    holders: dict[tuple[str, str], None] = {}  # in order, each once
    for name, role in ROLES.items():
        for text in fields.get(name, []):
            for holder in SEVERAL.split(text):
                if cleaned := _clean(holder):
                    holders[cleaned, role] = None
    first = {name: _clean(values[0]) for name, values in fields.items()}
    return Tags(
        title=first.get("title", ""),
        composer=", ".join(name for name, role in holders if role == "composer"),
        album=first.get("album", ""),
        holders=tuple(holders),
        isrc=parse_code(first.get("isrc", ""), ISRC),
        iswc=parse_code(first.get("iswc", ""), ISWC),
    )


def parse_code(text: str, form: re.Pattern[str]) -> str:
    """An ISRC or ISWC without hyphens, dots and blanks; empty where it is not one."""
    plain = re.sub(r"[^A-Z0-9]", "", text.upper())
    return plain if form.fullmatch(plain) else ""


def _clean(text: str) -> str:
    """One line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
