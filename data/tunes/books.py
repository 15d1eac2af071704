"""The two tune books as music21's corpus holds them: which tunes may be used, under which name and rhythm.

Rights are read as for the demo corpus (`data/demo/sources.py`). Aird's Airs are in music21 too and stay out: see
`data/README.md`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from notation import Melody, NotationError, list_symbols, read_melody
from sources import UNFIT, Tune, read_abc_file, tidy_title

BOOKS = {"oneills1850": "O'Neill's Music of Ireland (1903)", "ryansMammoth": "Ryan's Mammoth Collection (1883)"}
SHORT = {"oneills1850": "oneill", "ryansMammoth": "ryan"}
FEWEST, MOST = 60, 300  # symbols of a body

# O'Neill ordered his book by kind; the last number of each section of the print. After 1800 it is mixed.
SECTIONS = (
    (625, "air"),
    (700, "harp tune"),
    (1115, "jig"),
    (1175, "slip jig"),
    (1555, "reel"),
    (1780, "hornpipe"),
    (1800, "long dance"),
    (1850, ""),
)
DUPLE = {"2/2", "2/4", "4/4"}
METRES = {  # a rhythm in another metre is a misprint or a slip of the transcriber
    "jig": {"6/8"},
    "slip jig": {"9/8"},
    **dict.fromkeys(("reel", "hornpipe", "clog", "strathspey", "highland fling", "march"), DUPLE),
}
SAME = {"slipjig": "slip jig", "fling": "highland fling", "double jig": "jig"}

# Seconds of a full bar. Every metre and rhythm that is not here: `BAR_S`.
TEMPI = {("air", "4/4"): 2.6, ("air", "2/2"): 2.6, ("harp tune", "4/4"): 2.2, ("strathspey", "4/4"): 2.0}
BAR_S = {"2/2": 1.2, "4/4": 1.6, "2/4": 1.2, "3/4": 1.8, "6/8": 1.1, "9/8": 1.6, "3/8": 0.9, "12/8": 2.2}


@dataclass(frozen=True)
class PrintedTune:
    """A tune as it stands in a book."""

    book: str  # folder in music21's corpus
    file: str  # path inside it
    number: str  # the X: field; in O'Neill the number of the print
    titles: tuple[str, ...]
    rhythm: str  # "" where the book does not say
    composer: str
    transcriber: str
    melody: Melody
    body: str  # as `Melody.format` writes it

    @property
    def caption(self) -> str:
        """Rhythm, metre and key in words: 'a jig in 6/8 in D major'."""
        name = self.rhythm or "tune"
        return f"a{'n' if name[0] in 'aeiou' else ''} {name} in {self.melody.metre} in {self.melody.key.name}"

    @property
    def stratum(self) -> tuple[str, str, str, str]:
        """Book, rhythm, metre and mode; a decoy is matched to a track of the same stratum."""
        return self.book, self.rhythm, self.melody.metre, self.melody.key.mode

    @property
    def duration_s(self) -> float:
        """Seconds with repeats, at the tempo of its rhythm."""
        bar_s = TEMPI.get((self.rhythm, self.melody.metre), BAR_S.get(self.melody.metre, 1.6))
        return self.melody.count_seconds(bar_s)


def read_books(root: Path) -> tuple[list[PrintedTune], list[tuple[PrintedTune, PrintedTune]], Counter[str]]:
    """Usable tunes; pairs of one printed number that two people transcribed; counts of what is set aside, by reason.

    Of such a pair only the first is among the tunes.
    """
    tunes: list[PrintedTune] = []
    printed: dict[str, PrintedTune] = {}
    pairs: list[tuple[PrintedTune, PrintedTune]] = []
    refused: Counter[str] = Counter()
    for book in BOOKS:
        for path in sorted((root / book).glob("*.abc")):
            source = read_abc_file(path, book, root)
            count = len(re.findall(r"(?m)^X:", path.read_text(encoding="utf-8", errors="replace")))
            refused[f"{book}: header claims rights, names another source or has no title"] += count - len(source)
            for entry in source:
                try:
                    tune = _read_tune(entry)
                except NotationError as error:
                    refused[f"{book}: {error}"] += 1
                    continue
                number = f"{book} {tune.number}" if book == "oneills1850" else f"{book} {tune.file} {tune.number}"
                if number in printed:
                    pairs.append((printed[number], tune))
                    refused[f"{book}: transcribed a second time"] += 1
                else:
                    printed[number] = tune
                    tunes.append(tune)
    return tunes, pairs, +refused


def _read_tune(entry: Tune) -> PrintedTune:
    """Raises NotationError with the reason why a tune is not used."""
    if any(UNFIT.search(title) for title in entry.titles):
        raise NotationError("a title unfit for a demo")
    melody = read_melody(entry.text)
    if melody.find_irregular_bars():
        raise NotationError("a bar that does not add up to the metre")
    body = melody.format()
    if not FEWEST <= len(list_symbols(body)) <= MOST:
        raise NotationError(f"not {FEWEST} to {MOST} symbols")
    rhythm = _name_rhythm(entry, melody.metre)
    titles = tuple(dict.fromkeys(_format_title(s[2:]) for s in entry.text.splitlines() if s.startswith("T:")))
    signed = re.search(r'transcriber line: "(?:Z:\s*)?(.*?)"', entry.evidence)
    return PrintedTune(
        entry.collection,
        entry.file,
        entry.number.lstrip("0"),
        tuple(t for t in titles if t),
        rhythm,
        _name_composer(entry),
        signed[1] if signed else "none",
        melody,
        body,
    )


def _name_rhythm(entry: Tune, metre: str) -> str:
    title = " ".join(entry.titles).lower()
    if entry.collection == "oneills1850":
        number = int(re.sub(r"\D", "", entry.number) or 0)
        rhythm = next((kind for last, kind in SECTIONS if number <= last), "")
        if not rhythm and "march" in title:
            rhythm = "march"
    else:
        rhythm = SAME.get(entry.kind, entry.kind)
        if rhythm == "jig" and metre == "9/8":
            rhythm = "slip jig"
        if rhythm not in METRES:
            raise NotationError("no rhythm, or one of few tunes")
    if metre not in METRES.get(rhythm, {metre}) or metre not in BAR_S:
        raise NotationError("a metre that the rhythm does not have")
    return rhythm


def _name_composer(entry: Tune) -> str:
    """Who made it; raises NotationError for a composer of the time of the print, whose rights may not have ended."""
    lines = " ".join(s[2:] for s in entry.text.splitlines() if s.startswith("C:"))
    number = int(re.sub(r"\D", "", entry.number) or 0)
    if entry.collection == "oneills1850":
        carolan = re.search("carolan", lines, re.I) or 625 < number <= 700
        return "attributed to Turlough O'Carolan (died 1738)" if carolan else "trad."
    if re.sub(r"scotch|irish|[^a-z]", "", lines.lower()):
        raise NotationError("names a composer of its time")
    return "trad."


def _format_title(raw: str) -> str:
    """Tidy a printed title and join an owner to what follows: "HOPKIN'S -- HORNPIPE" -> "Hopkin's Hornpipe"."""
    title, _, kind = (part.strip(' ".') for part in re.sub(r"[\u2018\u2019]", "'", raw).partition("--"))
    title, kind = tidy_title(title), kind.split("-")[0].strip().capitalize()
    title = re.sub(r"^(.*) The$", r"The \1", title)
    if sum(map(str.isupper, title)) > 0.6 * sum(map(str.isalpha, title)):
        title = re.sub(r"'(M|S|Ll|Re|Ve|D|T|Es)\b", lambda m: m[0].lower(), title.title())
    return f"{title} {kind}" if kind and re.search(r"s'|'s$|'$", title) else title
