"""Records of an evidence report: its facts and sentences, nothing of how they look."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from explorer.holders.pairs import PairDetails
from explorer.text.evidence import LIMITS, PassageTexts


class EvidenceError(ValueError):
    """A report was asked for that this store cannot give; the message is one line."""


@dataclass(frozen=True)
class SoundExcerpt:
    """One sound of a report; `data` is None where it is not embedded, and `note` says why."""

    title: str
    note: str
    media_type: str = ""
    data: bytes | None = None


@dataclass(frozen=True)
class Chart:
    """A picture of a report with its heading and caption."""

    title: str
    svg: str  # safe markup, made by svg.py
    caption: str


@dataclass(frozen=True)
class Evidence:
    """A report; texts are plain, to be escaped by whoever renders them."""

    kind: str  # 'clip' or 'holder'
    title: str
    subject: tuple[tuple[str, str], ...]  # what it is about: (name, value)
    result: tuple[str, ...]  # most telling first
    pairs: tuple[PairDetails, ...]  # what the table shows
    decoys: tuple[PairDetails, ...]  # the strongest of a clip's decoys, for comparison
    table_note: str
    copied: tuple[str, ...]
    passages: tuple[PassageTexts, ...]
    sure: tuple[str, ...]
    played: tuple[str, ...]
    take_out: tuple[tuple[str, ...], str]
    charts: tuple[Chart, ...] = ()
    excerpts: tuple[tuple[SoundExcerpt, ...], ...] = ()  # those of a group belong together
    settings: tuple[tuple[str, str], ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()
    rows: tuple[PairDetails, ...] = ()  # what is written beside
    track_details: dict[int, dict[str, Any]] = field(default_factory=dict)  # by track: work, ISRC, licence proof, hash
    made_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    limits: tuple[str, ...] = LIMITS
