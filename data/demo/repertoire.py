"""Tunes that are played from the tune books: how many of which kind, and in which settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from arrange import TuneSetting
from sources import Tune


@dataclass(frozen=True)
class Book:
    """A printed tune book."""

    name: str  # collection in the manifest
    slug: str
    composer: str
    word: str  # of captions: "a fast Irish reel"


BOOKS = {
    "ryansMammoth": Book("Ryan's Mammoth Collection (1883)", "ryan", "unattributed, print of 1883", "American"),
    "oneills1850": Book("O'Neill's Music of Ireland (1903)", "oneill", "unattributed, print of 1903", "Irish"),
    "airdsAirs": Book("Aird's Airs (1782-1801)", "aird", "unattributed, print of 1782-1801", "Scottish"),
    "miscFolk": Book("Northumbrian Minstrelsy (1882)", "northumbrian", "unattributed, print of 1882", "English"),
}

# Regular pairs (training track + decoy) by book and kind of tune.
QUOTAS = {
    "ryansMammoth": {"reel": 17, "jig": 13, "hornpipe": 12, "strathspey": 4, "clog": 4},
    "oneills1850": {"air": 15, "harp tune": 6, "jig": 10, "slip jig": 3, "reel": 10, "hornpipe": 6},
    "airdsAirs": {"country dance": 12, "jig": 8, "minuet": 2, "march": 8},
    "miscFolk": {"song": 12},
}

METRES = {
    "reel": {"2/2", "4/4", "2/4"},
    "hornpipe": {"2/2", "4/4", "2/4"},
    "clog": {"2/2", "4/4", "2/4"},
    "strathspey": {"2/2", "4/4"},
    "country dance": {"2/2", "4/4", "2/4"},
    "march": {"2/2", "4/4", "2/4"},
    "jig": {"6/8"},
    "slip jig": {"9/8"},
    "air": {"3/4", "4/4", "2/4", "6/8", "2/2"},
    "harp tune": {"3/4", "4/4", "2/4", "6/8", "2/2"},
    "minuet": {"3/4"},
    "song": {"3/4", "4/4", "2/4", "6/8", "2/2"},
}

SETTINGS: dict[tuple[str, str], list[TuneSetting]] = {
    ("ryansMammoth", ""): [
        TuneSetting("fiddle", "chords", "piano"),
        TuneSetting("banjo"),
        TuneSetting("accordion", "chords", "guitar"),
        TuneSetting("clarinet", "chords", "reed organ"),
        TuneSetting("piccolo", "chords", "piano"),
        TuneSetting("hammered dulcimer"),
        TuneSetting("harmonica", "chords", "steel guitar"),
        TuneSetting("violin", "bass", "cello"),
        TuneSetting("trumpet", "chords", "piano"),
        TuneSetting("xylophone", "chords", "piano"),
        TuneSetting("piano"),
        TuneSetting("saxophone", "chords", "banjo"),
    ],
    ("oneills1850", ""): [
        TuneSetting("tin whistle", "chords", "guitar"),
        TuneSetting("fiddle"),
        TuneSetting("flute", "chords", "harp"),
        TuneSetting("accordion", "chords", "piano"),
        TuneSetting("tin whistle"),
        TuneSetting("concertina", "chords", "guitar"),
        TuneSetting("bagpipe", "drone", "bagpipe"),
    ],
    ("oneills1850", "air"): [
        TuneSetting("flute", "chords", "strings"),
        TuneSetting("tin whistle", "drone", "accordion"),
        TuneSetting("cello"),
        TuneSetting("horn", "chords", "strings"),
        TuneSetting("harp"),
        TuneSetting("oboe", "chords", "harp"),
        TuneSetting("violin", "chords", "reed organ"),
    ],
    ("oneills1850", "harp tune"): [TuneSetting("harp"), TuneSetting("harp", "chords", "strings")],
    ("airdsAirs", ""): [
        TuneSetting("piccolo"),
        TuneSetting("violin", "bass", "cello"),
        TuneSetting("recorder", "chords", "harpsichord"),
        TuneSetting("oboe", "bass", "bassoon"),
        TuneSetting("harpsichord"),
        TuneSetting("flute", "chords", "harpsichord"),
        TuneSetting("glockenspiel", "bass", "bassoon"),
    ],
    ("miscFolk", ""): [
        TuneSetting("bagpipe", "drone", "bagpipe"),
        TuneSetting("concertina"),
        TuneSetting("clarinet", "chords", "guitar"),
        TuneSetting("choir", "chords", "church organ"),
        TuneSetting("bassoon", "chords", "reed organ"),
    ],
}


def find_settings(folder: str, kind: str) -> list[TuneSetting]:
    """Settings of a kind of tune, else those of its book."""
    return SETTINGS.get((folder, kind)) or SETTINGS[folder, ""]


def stretch_bar(kind: str, metre: str) -> float:
    """Factor of a bar's length: bars of slow kinds last longer in longer metres, dances keep theirs."""
    if kind in ("air", "harp tune", "song"):
        return {"4/4": 1.25, "2/2": 1.25, "2/4": 0.95}.get(metre, 1.0)
    return 1.0


# O'Neill ordered his book by kind; numbers are those of the print.
ONEILL_KINDS = (
    (625, "air"),
    (700, "harp tune"),
    (1115, "jig"),
    (1175, "slip jig"),
    (1555, "reel"),
    (1744, "hornpipe"),
)


def classify_tune(tune: Tune) -> str:
    """Kind of a tune; "" where it is none that is used here."""
    metre = next((s[2:].strip() for s in tune.text.splitlines() if s.startswith("M:")), "")
    if tune.collection == "oneills1850":
        number = int(re.sub(r"\D", "", tune.number) or 9999)
        return next((kind for last, kind in ONEILL_KINDS if number <= last), "")
    if tune.collection == "miscFolk":
        return "song"
    if tune.collection == "airdsAirs":
        title = " ".join(tune.titles).lower()
        if "minuet" in title or (metre == "3/4" and "waltz" not in title):
            return "minuet" if "minuet" in title else ""
        if re.search(r"march|quick ?step|troop|retreat", title):
            return "march" if metre != "6/8" else ""
        return {"6/8": "jig", "9/8": "", "3/8": ""}.get(metre, "country dance" if metre in ("C|", "2/4", "C") else "")
    return {"slipjig": "slip jig"}.get(tune.kind, tune.kind)


# Planted renderings: (book, kind, works, setting of each rendering)
RENDERED_TUNES: list[tuple[str, str, int, tuple[TuneSetting, ...]]] = [
    ("ryansMammoth", "hornpipe", 3, (TuneSetting("fiddle", "chords", "piano"), TuneSetting("xylophone"))),
    ("oneills1850", "jig", 3, (TuneSetting("tin whistle", "chords", "guitar"), TuneSetting("accordion"))),
]
