"""Eight pieces of the planted renderings, each for two or three different forces."""

from __future__ import annotations

from movements import STRING_QUARTET, Forces, Movement

SHELF = "Songs and pieces in several renderings"
LAST_BAR = 40  # that is read, where nothing else is said


RENDERED_SCORES: list[tuple[Movement, tuple[Forces, ...]]] = [
    (
        Movement(
            work="foster-jeannie",
            file="leadSheet/fosterBrownHair.mxl",
            title="Jeannie with the Light Brown Hair",
            composer="Stephen Foster",
            collection=SHELF,
            public_domain="composer died 1864",
            quarter_bpm=84,
            tempo="slow",
            mode="major",
            genre="parlour song",
            last_bar=LAST_BAR,
        ),
        (
            Forces("harmonica", "on solo harmonica", (22,)),
            Forces("trumpet", "on solo trumpet", (56,)),
            Forces("piano", "on solo piano", (0,)),
        ),
    ),
    (
        Movement(
            work="liliuokalani-aloha-oe",
            file="liliuokalani/aloha_oe.mxl",
            title="Aloha Oe",
            composer="Liliuokalani",
            collection=SHELF,
            public_domain="composer died 1917, printed 1884",
            quarter_bpm=84,
            tempo="slow",
            mode="major",
            genre="Hawaiian song",
            last_bar=LAST_BAR,
        ),
        (
            Forces("steel guitar", "on steel guitar", (25,)),
            Forces("choir", "for choir", (52,)),
            Forces("vibraphone", "on vibraphone", (11,)),
        ),
    ),
    (
        Movement(
            work="handel-lascia",
            file="handel/rinaldo/Lascia_chio_pianga.mxl",
            title="Lascia ch'io pianga",
            composer="George Frideric Handel",
            collection=SHELF,
            public_domain="composer died 1759",
            quarter_bpm=66,
            tempo="slow",
            mode="major",
            genre="baroque aria",
            last_bar=LAST_BAR,
        ),
        (
            Forces("oboe, harpsichord", "on oboe with harpsichord", (68, 6)),
            Forces("flute, harp", "on flute with harp", (73, 46)),
            Forces("horn, strings", "on horn with strings", (60, 48)),
        ),
    ),
    (
        Movement(
            work="corelli-op3-no1",
            file="corelli/opus3no1/1grave.xml",
            title="Sonata op. 3 no. 1, Grave",
            composer="Arcangelo Corelli",
            collection=SHELF,
            public_domain="composer died 1713",
            quarter_bpm=60,
            tempo="slow",
            mode="major",
            genre="baroque sonata",
            last_bar=LAST_BAR,
        ),
        (
            Forces("two violins, cello", "for violins and cello", (40, 40, 42)),
            Forces("recorders, bassoon", "for recorders and bassoon", (74, 74, 70)),
            Forces("church organ", "on church organ", (19, 19, 19)),
        ),
    ),
    (
        Movement(
            work="weber-concertino",
            file="weber/concertino_clarinet.mxl",
            title="Concertino for clarinet",
            composer="Carl Maria von Weber",
            collection=SHELF,
            public_domain="composer died 1826",
            quarter_bpm=100,
            tempo="moderate",
            mode="major",
            genre="romantic concerto",
            first_bar=8,
            last_bar=80,
        ),
        (
            Forces("clarinet, piano", "on clarinet with piano", (71, 0, 0)),
            Forces("saxophone, piano", "on saxophone with piano", (65, 0, 0)),
            Forces("violin, strings", "on violin with strings", (40, 48, 48)),
        ),
    ),
    (
        Movement(
            work="mozart-k545",
            file="mozart/k545/movement1_exposition.mxl",
            title="Piano Sonata K. 545, movement 1",
            composer="Wolfgang Amadeus Mozart",
            collection=SHELF,
            public_domain="composer died 1791",
            quarter_bpm=126,
            tempo="fast",
            mode="major",
            genre="classical sonata",
            last_bar=LAST_BAR,
        ),
        (
            Forces("piano", "on solo piano", (0, 0)),
            Forces("harpsichord", "on solo harpsichord", (6, 6)),
            Forces("marimba", "on solo marimba", (12, 12)),
        ),
    ),
    (
        Movement(
            work="schumann-op48-no2",
            file="schumann_robert/opus48no2.mxl",
            title="Dichterliebe no. 2",
            composer="Robert Schumann",
            collection=SHELF,
            public_domain="composer died 1856",
            quarter_bpm=58,
            tempo="slow",
            mode="major",
            genre="romantic song",
            last_bar=LAST_BAR,
        ),
        (
            Forces("cello, piano", "on cello with piano", (42, 0, 0)),
            Forces("choir, harp", "for choir with harp", (52, 46, 46)),
            Forces("english horn, strings", "on english horn with strings", (69, 48, 48)),
        ),
    ),
    (
        Movement(
            work="schumann-op41-no1",
            file="schumann_robert/opus41no1/movement5.mxl",
            title="String Quartet op. 41 no. 1, movement 5",
            composer="Robert Schumann",
            collection=SHELF,
            public_domain="composer died 1856",
            quarter_bpm=152,
            tempo="fast",
            mode="minor",
            genre="romantic movement",
            last_bar=LAST_BAR,
        ),
        (
            STRING_QUARTET,
            Forces("saxophone quartet", "for saxophone quartet", (64, 65, 66, 67)),
            Forces("brass quartet", "for brass quartet", (56, 60, 57, 58)),
        ),
    ),
]
