"""Movements that are played from scores: the string quartets of the regular pairs.

Tempi are quarter notes a minute, set by hand from the usual tempo headings because most of the files have
none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Forces:
    """Who plays a score: one program a part (repeated if the score has more)."""

    label: str
    words: str  # end of the caption
    programs: tuple[int, ...]


@dataclass(frozen=True)
class Movement:
    """A movement of the classical repertoire."""

    work: str
    file: str
    title: str
    composer: str
    collection: str
    public_domain: str
    quarter_bpm: float
    tempo: str
    mode: str
    genre: str = "classical movement"
    first_bar: int = 0  # bars before this are left out
    last_bar: int | None = None


@dataclass(frozen=True)
class EncodingStatement:
    """A file's own statement about its encoding."""

    holder: str
    licence: str


STATED = {
    "corelli/opus3no1/1grave.xml": EncodingStatement(
        "Michael Scott Cuthbert (encoding)", "CC BY, 2014 (Michael Scott Cuthbert)"
    ),
    "weber/concertino_clarinet.mxl": EncodingStatement("public domain", "public domain, as the file states"),
    "leadSheet/fosterBrownHair.mxl": EncodingStatement("public domain", "public domain, as the file states"),
    "liliuokalani/aloha_oe.mxl": EncodingStatement("public domain", "CC0, as the file states"),
}

STRING_QUARTET = Forces("string quartet", "for string quartet", (40, 40, 41, 42))


COMPOSERS = {
    "beethoven": ("Ludwig van Beethoven", 1827),  # year of death
    "haydn": ("Joseph Haydn", 1809),
    "mozart": ("Wolfgang Amadeus Mozart", 1791),
}

OPUS = {
    "beethoven-opus18no1": "op. 18 no. 1",
    "beethoven-opus59no1": "op. 59 no. 1",
    "beethoven-opus59no2": "op. 59 no. 2",
    "beethoven-opus59no3": "op. 59 no. 3",
    "haydn-opus1no1": "op. 1 no. 1",
    "haydn-opus74no1": "op. 74 no. 1",
    "mozart-k80": "K. 80",
    "mozart-k155": "K. 155",
    "mozart-k156": "K. 156",
    "mozart-k458": "K. 458",
    "beethoven-opus18no3": "op. 18 no. 3",
    "beethoven-opus18no4": "op. 18 no. 4",
    "beethoven-opus18no5": "op. 18 no. 5",
    "beethoven-opus74": "op. 74",
}

# File, quarter notes a minute, tempo word, mode. Files that hold a whole opus also have a first and a last
# bar: only the opening movement, past its slow introduction, has a known tempo.
TABLE = """
beethoven/opus18no1/movement1.mxl 160 fast major
beethoven/opus18no1/movement2.mxl 66 slow minor
beethoven/opus18no1/movement3.mxl 290 fast major
beethoven/opus18no1/movement4.mxl 118 fast major
beethoven/opus59no1/movement1.mxl 144 moderate major
beethoven/opus59no1/movement2.mxl 84 moderate major
beethoven/opus59no1/movement3.mxl 46 slow minor
beethoven/opus59no1/movement4.mxl 124 fast major
beethoven/opus59no2/movement1.mxl 126 fast minor
beethoven/opus59no2/movement2.mxl 60 slow major
beethoven/opus59no2/movement3.mxl 200 moderate minor
beethoven/opus59no2/movement4.mxl 300 fast minor
beethoven/opus59no3/movement2.mxl 84 moderate minor
beethoven/opus59no3/movement3.mxl 112 moderate major
beethoven/opus59no3/movement4.mxl 300 fast major
haydn/opus1no1/movement1.mxl 150 fast major
haydn/opus1no1/movement2.mxl 126 moderate major
haydn/opus1no1/movement3.mxl 52 slow major
haydn/opus1no1/movement5.mxl 138 fast major
haydn/opus74no1/movement1.mxl 136 fast major
haydn/opus74no1/movement2.mxl 66 slow major
haydn/opus74no1/movement3.mxl 156 moderate major
haydn/opus74no1/movement4.mxl 144 fast major
mozart/k80/movement1.mxl 54 slow major
mozart/k80/movement2.mxl 140 fast major
mozart/k80/movement3.mxl 126 moderate major
mozart/k80/movement4.mxl 150 fast major
mozart/k155/movement1.mxl 138 fast major
mozart/k155/movement2.mxl 66 slow major
mozart/k155/movement3.mxl 136 fast major
mozart/k156/movement1.mxl 190 fast major
mozart/k156/movement2.mxl 52 slow minor
mozart/k156/movement3.mxl 122 moderate major
mozart/k458/movement1.mxl 170 fast major
mozart/k458/movement2.mxl 112 moderate major
mozart/k458/movement3.mxl 48 slow major
mozart/k458/movement4.mxl 146 fast major
beethoven/opus18no3.mxl 184 fast major 0 100
beethoven/opus18no4.mxl 124 fast minor 0 100
beethoven/opus18no5.mxl 152 fast major 0 80
beethoven/opus74.mxl 124 fast major 25 110
"""


def _parse_quartet(line: str) -> Movement:
    file, bpm, tempo, mode, *bars = line.split()
    name, opus, *_ = file.removesuffix(".mxl").split("/")
    number = file.partition("movement")[2].removesuffix(".mxl") or "1"
    composer, died = COMPOSERS[name]
    return Movement(
        work=f"{name}-{opus}",
        file=file,
        title=f"String Quartet {OPUS[f'{name}-{opus}']}, movement {number}",
        composer=composer,
        collection=f"{name.capitalize()} string quartets",
        public_domain=f"composer died {died}",
        quarter_bpm=float(bpm),
        tempo=tempo,
        mode=mode,
        first_bar=int(bars[0]) if bars else 0,
        last_bar=int(bars[1]) if bars else None,
    )


QUARTETS = [_parse_quartet(line) for line in TABLE.split("\n") if line]
QUARTET_QUOTAS = {"Beethoven string quartets": 18, "Haydn string quartets": 6, "Mozart string quartets": 10}
