"""What an evidence report is made of: frozen records, without a word of how they look."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from explorer.holders.pairs import PairDetails

LIMITS = (
    "An influence score has no currency. Nothing here says who is owed what, and a share of the positive score is no "
    "share of a clip.",
    "Influence is not copying: a track can sound like the clip and score low, or the reverse. Copied passages are a "
    "question of their own, answered apart.",
    "A score says how this one model reacts at these weights. What would have come out without a track, only training "
    "again without it shows.",
    "The error after ± covers the draws of noise in the computation, not another training run.",
    "Scores compare within one clip: not with another clip’s, nor with another model’s.",
    "Only tracks in this store were scored: a stronger source outside it cannot appear.",
    "Places are listed whether or not they stand above noise. Where the badge says “not distinguishable from noise”, a "
    "place is no evidence of influence.",
)


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
    title: str
    svg: str  # safe markup, made by evidence_svg
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
    passages: tuple[tuple[str, str, str], ...]  # (where in the clip, where in which track, how close)
    sure: tuple[str, ...]
    played: tuple[str, ...]
    take_out: tuple[tuple[str, ...], str]
    charts: tuple[Chart, ...] = ()
    excerpts: tuple[tuple[SoundExcerpt, ...], ...] = ()  # those of a group belong together
    settings: tuple[tuple[str, str], ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()
    rows: tuple[PairDetails, ...] = ()  # what is written beside
    papers: dict[int, dict[str, Any]] = field(default_factory=dict)  # by track: work, ISRC, evidence of licence, hash
    made_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    limits: tuple[str, ...] = LIMITS
