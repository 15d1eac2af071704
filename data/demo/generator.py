"""Own music in distinct styles (CC0), written by seeded rules: one function a style.

`rng` is the only source of chance. Each style returns notes for at least `LONGEST_S` seconds; times in
seconds, pitches in MIDI numbers. `variant` picks the instruments, so that a decoy can have those of its
training track.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from render import DRUMS, Note, Piece
from scores import FLATS
from theory import LONGEST_S, Key, choose_progression, list_steps, name_tempo, pick_key

KICK, RIM, SNARE, CLAP, HAT, OPEN_HAT, SHAKER = 36, 37, 38, 39, 42, 46, 70


@dataclass(frozen=True)
class GeneratedPiece:
    """A piece, and the words for it."""

    piece: Piece
    instrument: str  # manifest label: "piano, bass"
    caption: str


def write_arpeggios(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("marimba", 12), ("vibraphone", 11))[variant % 2]
    key, bpm = pick_key(rng), rng.uniform(108, 150)
    q, order = 60 / bpm / 4, rng.sample(range(6), 6)
    cell, chords = order[: rng.choice((4, 5, 6))], choose_progression(rng, key)
    notes = []
    for i in list_steps(60 / bpm, 4):
        root = chords[i // (len(cell) * 4) % 4]
        pitch = key.pitch(root + (0, 2, 4, 7, 9, 11)[cell[i % len(cell)]], 52)
        notes.append(Note(i * q, q, pitch, 100 if i % len(cell) == 0 else 78 + rng.randint(-6, 6), 0))
    return GeneratedPiece(
        Piece((program,), tuple(notes)), name, f"a {name_tempo(bpm)} minimal pattern in {key.name} on solo {name}"
    )


def write_ambient(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("warm synth pad", 89), ("synth choir pad", 91))[variant % 2]
    key, bar = pick_key(rng), rng.uniform(2.4, 3.4)
    notes = []
    for k, root in enumerate(choose_progression(rng, key)):
        for degree in (0, 4, rng.choice((7, 9)), rng.choice((8, 11))):
            notes.append(Note(k * bar, bar * 1.1, key.pitch(root + degree, 43), 78 + rng.randint(-8, 8), 0))
        notes.append(
            Note(
                (k + rng.choice((0.25, 0.5))) * bar,
                bar / 2,
                key.pitch(root + rng.choice((4, 7, 9)), 65),
                60,
                0,
            )
        )
    return GeneratedPiece(Piece((program,), tuple(notes)), name, f"a slow ambient piece in {key.name} on {name}")


def write_blues(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("piano", 0), ("electric guitar", 27))[variant % 2]
    tonic, bpm = rng.randrange(12), rng.uniform(92, 136)
    beat, notes = 60 / bpm, []
    twelve, start = [0, 0, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7], rng.choice((0, 2, 4, 6, 8))
    for bar in range(int(LONGEST_S / beat / 4) + 1):
        root = 36 + (tonic + twelve[(start + bar) % 12] - 36) % 12
        for b, walk in enumerate(rng.choice(((0, 4, 7, 9), (0, 4, 7, 10), (0, 7, 9, 10)))):
            notes.append(Note((4 * bar + b) * beat, 0.9 * beat, root + walk, 88, 1))
        for b in (0, 1.67, 3) if bar % 2 else (0.67, 2):
            notes += [Note((4 * bar + b) * beat, 0.5 * beat, root + 12 + p, 70, 0) for p in (4, 7, 10)]
        for b in sorted(rng.sample((0, 0.67, 1, 1.67, 2, 2.67, 3, 3.67), 5)):
            notes.append(
                Note((4 * bar + b) * beat, 0.4 * beat, 60 + tonic % 12 + rng.choice((0, 3, 5, 6, 7, 10)), 88, 0)
            )
    caption = f"a {name_tempo(bpm)} twelve bar blues in {FLATS[tonic]} on {name} with walking bass"
    return GeneratedPiece(Piece((program, 32), tuple(notes)), f"{name}, bass", caption)


def write_four_floor(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("synth lead", 81), ("electric organ", 16))[variant % 2]
    key, bpm = pick_key(rng, 0.8), rng.uniform(120, 136)
    beat, chords, notes = 60 / bpm, choose_progression(rng, key), []
    riff = [rng.choice((0, 2, 4, 7, None)) for _ in range(16)]
    bass = [rng.random() < 0.7 for _ in range(8)]
    for i in list_steps(beat, 4):
        at, root = i * beat / 4, chords[i // 16 % 4]
        if i % 4 == 0:
            notes.append(Note(at, 0.1, KICK, 112, 0))
        if i % 4 == 2:
            notes.append(Note(at, 0.1, OPEN_HAT, 66, 0))
        if i % 8 == 4:
            notes.append(Note(at, 0.1, CLAP, 88, 0))
        if i % 2 == 0 and bass[i // 2 % 8]:
            notes.append(Note(at, beat / 2.4, key.pitch(root, 33), 92, 1))
        if riff[i % 16] is not None:
            notes.append(Note(at, beat / 5, key.pitch(root + riff[i % 16], 57), 72, 2))
    caption = f"a fast house track in {key.name} with drums, synth bass and {name}"
    return GeneratedPiece(Piece((DRUMS, 38, program), tuple(notes)), f"drums, synth bass, {name}", caption)


def write_musette(rng: random.Random, variant: int) -> GeneratedPiece:
    support, program = (("guitar", 24), ("bass", 32))[variant % 2]
    key, bpm = pick_key(rng), rng.uniform(150, 190)
    beat, chords, degree, notes = 60 / bpm, choose_progression(rng, key), 7, []
    for bar in range(int(LONGEST_S / beat / 3) + 1):
        at, root = 3 * bar * beat, chords[bar // 2 % 4]
        notes.append(Note(at, 0.8 * beat, key.pitch(root, 38), 84, 1))
        if variant % 2 == 0:
            notes += [Note(at + b * beat, 0.4 * beat, p, 62, 1) for b in (1, 2) for p in key.chord(root, 50)]
        rhythm = rng.choice(((0, 0.5, 1, 1.5, 2, 2.5), (0, 1, 2), (0, 2, 2.5), (0, 1.5, 2)))
        for a, b in zip(rhythm, (*rhythm[1:], 3), strict=True):
            degree = (
                root + rng.choice((0, 2, 4)) + 7 if a == 0 else max(3, min(14, degree + rng.choice((-2, -1, 1, 1))))
            )
            notes.append(Note(at + a * beat, 0.9 * (b - a) * beat, key.pitch(degree, 57), 90, 0))
    caption = f"a fast musette waltz in {key.name} on accordion with {support}"
    return GeneratedPiece(Piece((21, program), tuple(notes)), f"accordion, {support}", caption)


def write_lullaby(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("music box", 10), ("celesta", 8))[variant % 2]
    key, bpm = pick_key(rng, 0.25), rng.uniform(66, 82)
    beat, chords, degree, notes = 60 / bpm, choose_progression(rng, key), 4, []
    for i in list_steps(beat, 2):
        at, root = i * beat / 2, chords[i // 6 % 4]
        notes.append(Note(at, beat, key.pitch(root + (0, 4, 7, 9, 7, 4)[i % 6], 60), 58, 0))
        if i == 0 or (i % 6 in (0, 2, 4) and rng.random() < 0.85):
            degree = root + rng.choice((0, 2, 4)) if i % 6 == 0 else degree + rng.choice((-1, 1, 2, -2))
            notes.append(Note(at, beat, key.pitch(max(0, min(11, degree)), 76), 92, 0))
    return GeneratedPiece(Piece((program,), tuple(notes)), name, f"a slow lullaby in {key.name} on solo {name}")


def write_fanfare(rng: random.Random, variant: int) -> GeneratedPiece:
    key, bpm = Key(rng.randrange(12), False), rng.uniform(100, 122)
    beat, notes, at = 60 / bpm, [], 0.0
    programs, name = ((56, 60, 57), "trumpets and horns") if variant % 2 == 0 else ((60, 57, 58), "horns and trombones")
    rhythms = ((0.75, 0.25, 1), (0.33, 0.33, 0.34, 1), (0.5, 0.5, 1), (1, 1), (1.5, 0.5))
    degree = 0
    while at < LONGEST_S:
        root = rng.choice((0, 0, 4, 3))
        for length in rng.choice(rhythms):
            degree = max(-3, min(9, degree + rng.choice((0, 0, 2, 2, -2, 1))))
            for voice, low in enumerate((60, 55, 48) if variant % 2 == 0 else (53, 46, 36)):
                pitch = key.pitch(degree if voice == 0 else root + (0, 4, 0)[voice], low)
                notes.append(Note(at, 0.8 * length * beat, pitch, 100, voice))
            at += length * beat
    return GeneratedPiece(Piece(programs, tuple(notes)), name, f"a moderate brass fanfare in {key.name} on {name}")


def write_choral(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("choir", 52), ("church organ", 19))[variant % 2]
    key, bpm = pick_key(rng), rng.uniform(56, 76)
    beat, notes, soprano = 60 / bpm, [], 7
    for i in list_steps(beat):
        root = rng.choice((0, 3, 4, 5, 1)) if i % 4 else 0
        soprano = min((root + k for k in (2, 4, 7, 9, 11)), key=lambda d: (abs(d - soprano - rng.choice((-1, 1))), d))
        pitches = [key.pitch(root, 41), *key.chord(root, 52), key.pitch(soprano, 57)]
        notes += [Note(i * beat, 0.98 * beat, p, 80, 0) for p in sorted(set(pitches))]
    return GeneratedPiece(
        Piece((program,), tuple(notes)), name, f"a slow hymn in {key.name} on {name} with full chords"
    )


def write_picking(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("guitar", 24), ("steel guitar", 25))[variant % 2]
    key, bpm = pick_key(rng), rng.uniform(84, 122)
    half, chords, notes = 30 / bpm, choose_progression(rng, key), []
    pattern = rng.choice(((0, 4, 7, 9, 7, 4, 9, 4), (0, 7, 4, 9, 2, 7, 4, 9), (0, 4, 9, 7, 11, 7, 9, 4)))
    for i in list_steps(60 / bpm, 2):
        root = chords[i // 8 % 4]
        notes.append(Note(i * half, 4 * half, key.pitch(root + pattern[i % 8], 40), 94 if i % 4 == 0 else 74, 0))
        if rng.random() < 0.18:
            notes.append(Note(i * half, 2 * half, key.pitch(root + rng.choice((9, 11, 13)), 52), 82, 0))
    return GeneratedPiece(
        Piece((program,), tuple(notes)),
        name,
        f"a {name_tempo(bpm)} finger picking piece in {key.name} on solo {name}",
    )


FIGURES = ((7, 9, 11, 9), (7, 11, 9, 11), (14, 11, 9, 7), (7, 8, 9, 11))
FURTHER_FIGURES = (
    *((7, 9, 11, 14), (9, 7, 9, 11), (9, 11, 7, 11), (9, 11, 14, 11), (11, 9, 7, 9), (11, 7, 9, 7), (11, 14, 11, 9)),
    *((11, 9, 8, 7), (14, 9, 11, 9), (14, 11, 14, 9), (7, 11, 14, 11), (7, 11, 9, 7), (9, 8, 7, 9), (9, 14, 11, 9)),
    *((11, 8, 9, 7), (14, 9, 7, 9), (7, 14, 11, 9), (9, 7, 11, 9)),
)


def write_sequence(rng: random.Random, variant: int, figures: tuple[tuple[int, ...], ...] = FIGURES) -> GeneratedPiece:
    """Key and figure alone make the melody: `figures` bounds how many there are."""
    key, bpm = pick_key(rng, 0.6), rng.uniform(88, 120)
    name, program = (("cello", 42), ("bassoon", 70))[variant % 2]
    q, notes = 15 / bpm, []
    figure = rng.choice(figures)
    for i in list_steps(60 / bpm, 4):
        root = -((i // 8 * 4) % 7) if i // 8 % 2 == 0 else 7 - ((i // 8 * 4) % 7)  # falling fifths
        notes.append(Note(i * q, 0.9 * q, key.pitch(root % 7 + figure[i % 4] - 7, 60), 84, 0))
        if i % 4 == 0:
            notes.append(Note(i * q, 3.8 * q, key.pitch(root % 7 - (7 if i % 8 else 0), 48), 80, 1))
    caption = f"a {name_tempo(bpm)} baroque sequence in {key.name} on harpsichord with {name} bass"
    return GeneratedPiece(Piece((6, program), tuple(notes)), f"harpsichord, {name}", caption)


def write_bossa(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("electric piano", 4), ("guitar", 24))[variant % 2]
    key, bpm = pick_key(rng, 0.5), rng.uniform(112, 138)
    half, chords, notes = 30 / bpm, choose_progression(rng, key), []
    for i in list_steps(60 / bpm, 2):
        at, root = i * half, chords[i // 16 % 4]
        notes.append(Note(at, 0.05, SHAKER, 52 if i % 2 else 66, 0))
        if i % 16 in (0, 3, 6, 10, 13):
            notes.append(Note(at, 0.05, RIM, 80, 0))
        if i % 8 in (0, 3, 4, 7):
            notes.append(Note(at, 1.2 * half, key.pitch(root + (0 if i % 8 in (0, 7) else 4), 34), 86, 1))
        if i % 16 in (0, 3, 6, 9, 12) or rng.random() < 0.08:
            notes += [Note(at, 1.5 * half, key.pitch(root + d, 52), 70, 2) for d in (0, 2, 4, 6)]
    caption = f"a {name_tempo(bpm)} bossa nova in {key.name} on {name} with bass and light drums"
    return GeneratedPiece(Piece((DRUMS, 32, program), tuple(notes)), f"{name}, bass, drums", caption)


def write_chiptune(rng: random.Random, variant: int) -> GeneratedPiece:
    name, program = (("square wave synth", 80), ("calliope synth", 82))[variant % 2]
    key, bpm = pick_key(rng), rng.uniform(132, 168)
    q, chords, notes, degree = 15 / bpm, choose_progression(rng, key), [], 7
    for i in list_steps(60 / bpm, 4):
        at, root = i * q, chords[i // 16 % 4]
        if i % 8 in (0, 4):
            notes.append(Note(at, 0.05, SNARE if i % 8 else KICK, 84, 0))
        if i % 2 == 0:
            notes.append(Note(at, 0.05, HAT, 60, 0))
            notes.append(Note(at, 1.6 * q, key.pitch(root + (0 if i % 4 == 0 else 7), 36), 78, 1))
        if i == 0 or rng.random() < 0.62:
            degree = (
                root + rng.choice((7, 9, 11, 14)) if i % 4 == 0 else max(5, min(16, degree + rng.choice((-1, 1, 2))))
            )
            notes.append(Note(at, 1.1 * q, key.pitch(degree, 55), 86, 1))
    caption = f"a fast chiptune in {key.name} on {name} with drums"
    return GeneratedPiece(Piece((DRUMS, program), tuple(notes)), f"{name}, drums", caption)


def write_kalimba_seven(rng: random.Random, variant: int) -> GeneratedPiece:
    """The rare style: seven eighths against five, on sounds that nothing else uses."""
    eighth, notes = rng.uniform(0.17, 0.22), []
    scale, base = (0, 2, 3, 7, 9), 57 + rng.randrange(5)
    seven = [rng.choice(scale) for _ in range(7)]
    for i in range(int(LONGEST_S / eighth) + 1):
        accent = i % 7 in (0, 3, 5)
        notes.append(Note(i * eighth, 2 * eighth, base + seven[i % 7] + 12 * (i % 3 == 1), 104 if accent else 78, 0))
        if i % 5 == 0:
            notes.append(Note(i * eighth, 3 * eighth, base + scale[i // 5 % 5], 84, 1))
    words = "a moderate polyrhythm in seven on kalimba and steel drum"
    return GeneratedPiece(Piece((108, 114), tuple(notes)), "kalimba, steel drum", words)


STYLES: dict[str, Callable[[random.Random, int], GeneratedPiece]] = {
    "minimal mallets": write_arpeggios,
    "ambient pads": write_ambient,
    "twelve bar blues": write_blues,
    "four on the floor": write_four_floor,
    "musette waltz": write_musette,
    "lullaby": write_lullaby,
    "brass fanfare": write_fanfare,
    "hymn": write_choral,
    "finger picking": write_picking,
    "baroque sequence": write_sequence,
    "bossa nova": write_bossa,
    "chiptune": write_chiptune,
}
