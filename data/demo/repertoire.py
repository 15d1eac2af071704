"""Tunes that are played from the tune books: how many of which kind, and in which settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from arrange import Setting
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

SETTINGS: dict[tuple[str, str], list[Setting]] = {
    ("ryansMammoth", ""): [
        Setting("fiddle", "chords", "piano"),
        Setting("banjo"),
        Setting("accordion", "chords", "guitar"),
        Setting("clarinet", "chords", "reed organ"),
        Setting("piccolo", "chords", "piano"),
        Setting("hammered dulcimer"),
        Setting("harmonica", "chords", "steel guitar"),
        Setting("violin", "bass", "cello"),
        Setting("trumpet", "chords", "piano"),
        Setting("xylophone", "chords", "piano"),
        Setting("piano"),
        Setting("saxophone", "chords", "banjo"),
    ],
    ("oneills1850", ""): [
        Setting("tin whistle", "chords", "guitar"),
        Setting("fiddle"),
        Setting("flute", "chords", "harp"),
        Setting("accordion", "chords", "piano"),
        Setting("tin whistle"),
        Setting("concertina", "chords", "guitar"),
        Setting("bagpipe", "drone", "bagpipe"),
    ],
    ("oneills1850", "air"): [
        Setting("flute", "chords", "strings"),
        Setting("tin whistle", "drone", "accordion"),
        Setting("cello"),
        Setting("horn", "chords", "strings"),
        Setting("harp"),
        Setting("oboe", "chords", "harp"),
        Setting("violin", "chords", "reed organ"),
    ],
    ("oneills1850", "harp tune"): [Setting("harp"), Setting("harp", "chords", "strings")],
    ("airdsAirs", ""): [
        Setting("piccolo"),
        Setting("violin", "bass", "cello"),
        Setting("recorder", "chords", "harpsichord"),
        Setting("oboe", "bass", "bassoon"),
        Setting("harpsichord"),
        Setting("flute", "chords", "harpsichord"),
        Setting("glockenspiel", "bass", "bassoon"),
    ],
    ("miscFolk", ""): [
        Setting("bagpipe", "drone", "bagpipe"),
        Setting("concertina"),
        Setting("clarinet", "chords", "guitar"),
        Setting("choir", "chords", "church organ"),
        Setting("bassoon", "chords", "reed organ"),
    ],
}


def find_settings(folder: str, kind: str) -> list[Setting]:
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
RENDERED_TUNES: list[tuple[str, str, int, tuple[Setting, ...]]] = [
    ("ryansMammoth", "hornpipe", 3, (Setting("fiddle", "chords", "piano"), Setting("xylophone"))),
    ("oneills1850", "jig", 3, (Setting("tin whistle", "chords", "guitar"), Setting("accordion"))),
]
