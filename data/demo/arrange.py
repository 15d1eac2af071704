"""An excerpt of a score -> a piece for instruments, and the caption that names them.

Every arrangement is a melody on one instrument plus a texture: solo, drone, bass line or chords derived
from the key.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from render import Note, Piece
from scores import CutNote, Score


@dataclass(frozen=True)
class Instrument:
    """A General MIDI sound and the register it is played in."""

    name: str
    program: int  # General MIDI, from 0
    low: int  # MIDI pitch below which a melody is moved up by octaves
    velocity: int = 92


INSTRUMENTS = {
    i.name: i
    for i in (
        Instrument("piano", 0, 55),
        Instrument("harpsichord", 6, 52),
        Instrument("celesta", 8, 67),
        Instrument("glockenspiel", 9, 72),
        Instrument("vibraphone", 11, 57),
        Instrument("marimba", 12, 52),
        Instrument("xylophone", 13, 65),
        Instrument("hammered dulcimer", 15, 55),
        Instrument("church organ", 19, 55),
        Instrument("reed organ", 20, 55),
        Instrument("accordion", 21, 55),
        Instrument("harmonica", 22, 60),
        Instrument("concertina", 23, 57),
        Instrument("guitar", 24, 48),
        Instrument("steel guitar", 25, 48),
        Instrument("violin", 40, 55),
        Instrument("cello", 42, 38),
        Instrument("strings", 48, 50),
        Instrument("harp", 46, 50),
        Instrument("choir", 52, 53),
        Instrument("trumpet", 56, 55),
        Instrument("brass", 61, 48),
        Instrument("horn", 60, 46),
        Instrument("saxophone", 65, 52),
        Instrument("oboe", 68, 60),
        Instrument("bassoon", 70, 38),
        Instrument("clarinet", 71, 52),
        Instrument("piccolo", 72, 74),
        Instrument("flute", 73, 60),
        Instrument("recorder", 74, 67),
        Instrument("tin whistle", 78, 72),
        Instrument("banjo", 105, 52),
        Instrument("bagpipe", 109, 60),
        Instrument("fiddle", 110, 55),
    )
}


@dataclass(frozen=True)
class TuneSetting:
    """Who plays, and how: `texture` is solo, drone, bass or chords."""

    lead: str
    texture: str = "solo"
    support: str = ""  # instrument of the drone, bass or chords

    @property
    def words(self) -> str:
        """'tin whistle with guitar chords', 'solo harp'."""
        support = "string" if self.support == "strings" else self.support
        return f"solo {self.lead}" if self.texture == "solo" else f"{self.lead} with {support} {self.texture}"

    @property
    def label(self) -> str:
        """For the manifest: 'tin whistle, guitar'."""
        return self.lead if self.texture == "solo" else f"{self.lead}, {self.support}"


@dataclass(frozen=True)
class Dance:
    """The manner of playing a kind of tune: words of the caption and the length of a bar."""

    words: str  # "reel"
    tempo: str  # slow | moderate | fast
    bar_s: tuple[float, float]


DANCES = {
    "reel": Dance("reel", "fast", (1.08, 1.3)),
    "jig": Dance("jig", "fast", (0.98, 1.16)),
    "slip jig": Dance("slip jig", "fast", (1.45, 1.7)),
    "hornpipe": Dance("hornpipe", "moderate", (1.4, 1.65)),
    "clog": Dance("clog dance", "moderate", (1.5, 1.75)),
    "strathspey": Dance("strathspey", "moderate", (1.8, 2.1)),
    "air": Dance("air", "slow", (2.6, 3.2)),
    "harp tune": Dance("harp tune", "moderate", (1.7, 2.0)),
    "march": Dance("march", "moderate", (1.2, 1.45)),
    "minuet": Dance("minuet", "moderate", (1.45, 1.75)),
    "country dance": Dance("country dance", "fast", (1.1, 1.3)),
    "song": Dance("song", "moderate", (1.7, 2.1)),
}

MODES = {
    "major": ((0, 4, 7), (5, 9, 0), (7, 11, 2), (9, 0, 4), (2, 5, 9)),
    "minor": ((0, 3, 7), (5, 8, 0), (7, 10, 2), (8, 0, 3), (10, 2, 5), (3, 7, 10)),
    "dorian": ((0, 3, 7), (10, 2, 5), (5, 9, 0), (3, 7, 10), (7, 10, 2)),
    "mixolydian": ((0, 4, 7), (10, 2, 5), (5, 9, 0), (7, 11, 2), (9, 0, 4)),
}


def harmonise(notes: list[CutNote], tonic: int, mode: str, step_s: float, dur_s: float) -> list[tuple[float, tuple]]:
    """(start in s, chord as pitch classes) every `step_s`: the chord of the key that fits the melody best."""
    chords = [tuple((p + tonic) % 12 for p in chord) for chord in MODES[mode]]
    out = []
    count = int(dur_s / step_s) + 1
    for k in range(count):
        a, b = k * step_s, (k + 1) * step_s
        weight = [0.0] * 12
        for n in notes:
            weight[n.pitch % 12] += max(0.0, min(b, n.start_s + n.dur_s) - max(a, n.start_s))
        # The earlier chords of a mode are the likelier ones, so ties go to them.
        best = max(range(len(chords)), key=lambda c: sum(weight[p] for p in chords[c]) - 0.03 * c * step_s)
        out.append((a, chords[best]))
    return out


def place_pitch(pitch_class: int, low: int) -> int:
    """Lowest MIDI pitch of this class that is not below `low`."""
    return low + (pitch_class - low) % 12


def write_support(setting: TuneSetting, notes: list[CutNote], score: Score, bar_s: float, dur_s: float) -> list[Note]:
    """The second voice of a setting, from the start of a bar of `bar_s` seconds: one chord a bar."""
    beats = 3 if score.metre in ("3/4", "9/8", "3/8") else 2
    beat_s = bar_s / beats
    if setting.texture == "drone":
        return [Note(0, dur_s + 1, p, 58, 1) for p in (place_pitch(score.tonic, 43), place_pitch(score.tonic + 7, 48))]
    out = []
    for start, chord in harmonise(notes, score.tonic, score.mode, bar_s, dur_s):
        root, fifth = place_pitch(chord[0], 38), place_pitch(chord[2], 38)
        upper = [place_pitch(p, 52) for p in chord]
        if setting.texture == "bass":
            out.append(Note(start, 0.9 * beat_s, root, 74, 1))
            out += [Note(start + k * beat_s, 0.9 * beat_s, fifth, 68, 1) for k in range(1, beats)]
        elif setting.support in ("strings", "choir", "church organ", "reed organ"):
            out += [Note(start, 0.98 * bar_s, p, 54, 1) for p in (root, *upper)]
        elif beats == 3:
            out.append(Note(start, 0.8 * beat_s, root, 66, 1))
            out += [Note(start + k * beat_s, 0.5 * beat_s, p, 54, 1) for k in (1, 2) for p in upper]
        else:
            late = (2 / 3 if score.metre in ("6/8", "12/8") else 1 / 2) * beat_s
            for k, low in ((0, root), (1, fifth)):
                out.append(Note(start + k * beat_s, 0.45 * beat_s, low, 66, 1))
                out += [Note(start + k * beat_s + late, 0.3 * beat_s, p, 54, 1) for p in upper]
    return [n for n in out if n.start_s < dur_s]


def arrange(
    score: Score, notes: list[CutNote], setting: TuneSetting, bar_s: float, dur_s: float, rng: random.Random
) -> Piece:
    """A tune (part 0) in a setting; timing and touch vary a little, seeded by `rng`."""
    lead = INSTRUMENTS[setting.lead]
    melody = [n for n in notes if n.part == 0]
    lowest = min(n.pitch for n in melody)
    shift = 0
    while lowest + shift < lead.low:
        shift += 12
    while lowest + shift >= lead.low + 12:
        shift -= 12
    out = []
    for n in melody:
        half_bars = 2 * n.start_s / bar_s
        accent = 8 if abs(half_bars - round(half_bars)) < 0.05 else 0
        late = rng.uniform(0, 0.008) if n.start_s > 0 else 0.0
        out.append(
            Note(
                n.start_s + late,
                0.93 * n.dur_s,
                n.pitch + shift,
                lead.velocity + accent + rng.randint(-5, 5),
                0,
            )
        )
    programs = [lead.program]
    if setting.texture != "solo":
        programs.append(INSTRUMENTS[setting.support].program)
        out += write_support(setting, melody, score, bar_s, dur_s)
    return Piece(tuple(programs), tuple(out))


def arrange_ensemble(notes: list[CutNote], programs: list[int], rng: random.Random, transpose: int = 0) -> Piece:
    """All parts of a score, part k on `programs[k]`."""
    used = sorted({n.part for n in notes})
    voice = {part: k for k, part in enumerate(used)}
    out = tuple(
        Note(
            n.start_s + (rng.uniform(0, 0.01) if n.start_s > 0 else 0.0),
            0.95 * n.dur_s,
            n.pitch + transpose,
            (88 if n.part == 0 else 76) + rng.randint(-6, 6),
            voice[n.part],
        )
        for n in notes
    )
    return Piece(tuple(programs[p % len(programs)] for p in used), out)


def add_article(words: str) -> str:
    """'a slow air', 'an old song'."""
    return ("an " if words[0] in "aeiou" else "a ") + words
