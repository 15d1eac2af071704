"""Eight pieces of the planted renderings, each for two or three different forces."""

from __future__ import annotations

from movements import STRING_QUARTET, Forces, Movement

SHELF = "Songs and pieces in several renderings"


def _piece(
    work: str,
    file: str,
    title: str,
    composer: str,
    pd: str,
    bpm: float,
    tempo: str,
    mode: str,
    genre: str,
    *bars: int,
) -> Movement:
    """A movement outside the quartets; `bars`: first and last, by default the first forty."""
    first, last = bars or (0, 40)
    return Movement(work, file, title, composer, SHELF, pd, bpm, tempo, mode, genre, first, last)


RENDERED_SCORES: list[tuple[Movement, tuple[Forces, ...]]] = [
    (
        _piece(
            "foster-jeannie",
            "leadSheet/fosterBrownHair.mxl",
            "Jeannie with the Light Brown Hair",
            "Stephen Foster",
            "composer died 1864",
            84,
            "slow",
            "major",
            "parlour song",
        ),
        (
            Forces("harmonica", "on solo harmonica", (22,)),
            Forces("trumpet", "on solo trumpet", (56,)),
            Forces("piano", "on solo piano", (0,)),
        ),
    ),
    (
        _piece(
            "liliuokalani-aloha-oe",
            "liliuokalani/aloha_oe.mxl",
            "Aloha Oe",
            "Liliuokalani",
            "composer died 1917, printed 1884",
            84,
            "slow",
            "major",
            "Hawaiian song",
        ),
        (
            Forces("steel guitar", "on steel guitar", (25,)),
            Forces("choir", "for choir", (52,)),
            Forces("vibraphone", "on vibraphone", (11,)),
        ),
    ),
    (
        _piece(
            "handel-lascia",
            "handel/rinaldo/Lascia_chio_pianga.mxl",
            "Lascia ch'io pianga",
            "George Frideric Handel",
            "composer died 1759",
            66,
            "slow",
            "major",
            "baroque aria",
        ),
        (
            Forces("oboe, harpsichord", "on oboe with harpsichord", (68, 6)),
            Forces("flute, harp", "on flute with harp", (73, 46)),
            Forces("horn, strings", "on horn with strings", (60, 48)),
        ),
    ),
    (
        _piece(
            "corelli-op3-no1",
            "corelli/opus3no1/1grave.xml",
            "Sonata op. 3 no. 1, Grave",
            "Arcangelo Corelli",
            "composer died 1713",
            60,
            "slow",
            "major",
            "baroque sonata",
        ),
        (
            Forces("two violins, cello", "for violins and cello", (40, 40, 42)),
            Forces("recorders, bassoon", "for recorders and bassoon", (74, 74, 70)),
            Forces("church organ", "on church organ", (19, 19, 19)),
        ),
    ),
    (
        _piece(
            "weber-concertino",
            "weber/concertino_clarinet.mxl",
            "Concertino for clarinet",
            "Carl Maria von Weber",
            "composer died 1826",
            100,
            "moderate",
            "major",
            "romantic concerto",
            8,
            80,
        ),
        (
            Forces("clarinet, piano", "on clarinet with piano", (71, 0, 0)),
            Forces("saxophone, piano", "on saxophone with piano", (65, 0, 0)),
            Forces("violin, strings", "on violin with strings", (40, 48, 48)),
        ),
    ),
    (
        _piece(
            "mozart-k545",
            "mozart/k545/movement1_exposition.mxl",
            "Piano Sonata K. 545, movement 1",
            "Wolfgang Amadeus Mozart",
            "composer died 1791",
            126,
            "fast",
            "major",
            "classical sonata",
        ),
        (
            Forces("piano", "on solo piano", (0, 0)),
            Forces("harpsichord", "on solo harpsichord", (6, 6)),
            Forces("marimba", "on solo marimba", (12, 12)),
        ),
    ),
    (
        _piece(
            "schumann-op48-no2",
            "schumann_robert/opus48no2.mxl",
            "Dichterliebe no. 2",
            "Robert Schumann",
            "composer died 1856",
            58,
            "slow",
            "major",
            "romantic song",
        ),
        (
            Forces("cello, piano", "on cello with piano", (42, 0, 0)),
            Forces("choir, harp", "for choir with harp", (52, 46, 46)),
            Forces("english horn, strings", "on english horn with strings", (69, 48, 48)),
        ),
    ),
    (
        _piece(
            "schumann-op41-no1",
            "schumann_robert/opus41no1/movement5.mxl",
            "String Quartet op. 41 no. 1, movement 5",
            "Robert Schumann",
            "composer died 1856",
            152,
            "fast",
            "minor",
            "romantic movement",
        ),
        (
            STRING_QUARTET,
            Forces("saxophone quartet", "for saxophone quartet", (64, 65, 66, 67)),
            Forces("brass quartet", "for brass quartet", (56, 60, 57, 58)),
        ),
    ),
]
