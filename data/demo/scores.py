"""Scores as plain notes: reads ABC and MusicXML through music21 and cuts excerpts.

Score time is in quarter notes from the start of the score, audio time in seconds from the start of the
excerpt, pitch in MIDI numbers. Repeats are not expanded and grace notes are left out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

FLATS = ("C", "D flat", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")


@dataclass(frozen=True)
class ScoreNote:
    """One written note."""

    start_q: float
    dur_q: float
    pitch: int


@dataclass(frozen=True)
class Score:
    """Parts of notes, where the bars begin, and the key."""

    parts: tuple[tuple[ScoreNote, ...], ...]
    bars_q: tuple[float, ...]  # offsets of complete bars
    bar_q: float  # length of a bar
    metre: str
    tonic: int  # pitch class, 0 = C
    mode: str  # major | minor | dorian | mixolydian

    @property
    def key_name(self) -> str:
        """Such as 'B flat major' or 'A dorian'."""
        return f"{FLATS[self.tonic]} {self.mode}"

    def transpose(self, semitones: int) -> Score:
        """A copy of the score in another key."""
        parts = tuple(tuple(replace(n, pitch=n.pitch + semitones) for n in part) for part in self.parts)
        return replace(self, parts=parts, tonic=(self.tonic + semitones) % 12)

    @property
    def end_q(self) -> float:
        """End of the last note."""
        return max(n.start_q + n.dur_q for part in self.parts for n in part)


@dataclass(frozen=True)
class CutNote:
    """One note of an excerpt."""

    start_s: float
    dur_s: float
    pitch: int
    part: int


def _read_notes(part: object, max_bars: int | None) -> tuple[ScoreNote, ...]:
    """Sounding notes of a music21 part, ties joined (music21's stripTies takes a minute on an opus)."""
    open_ties: dict[int, int] = {}
    out: list[ScoreNote] = []
    bars = list(part.getElementsByClass("Measure"))[:max_bars]  # type: ignore[attr-defined]
    for bar in bars:
        for element in bar.recurse().notes:
            if element.duration.isGrace or element.quarterLength == 0 or not hasattr(element, "pitches"):
                continue
            start = float(bar.offset + element.getOffsetInHierarchy(bar))
            members = element.notes if element.isChord else (element,)
            for note in members:
                tie = note.tie.type if note.tie else None
                midi = int(note.pitch.midi)
                if tie in ("continue", "stop") and midi in open_ties:
                    i = open_ties[midi]
                    out[i] = ScoreNote(out[i].start_q, start + float(element.quarterLength) - out[i].start_q, midi)
                else:
                    out.append(ScoreNote(start, float(element.quarterLength), midi))
                    open_ties[midi] = len(out) - 1
                if tie not in ("start", "continue"):
                    open_ties.pop(midi, None)
    return tuple(sorted(out, key=lambda n: (n.start_q, n.pitch)))


def _read_score(stream: object, max_bars: int | None = None) -> Score:
    """A music21 stream as plain notes; metre and key are those that its first part begins with."""
    parts = list(stream.parts)  # type: ignore[attr-defined]
    first = parts[0]
    bars = list(first.getElementsByClass("Measure"))[:max_bars]
    signature = next(iter(first.recurse().getElementsByClass("TimeSignature")))
    bar_q = float(signature.barDuration.quarterLength)
    whole = tuple(float(b.offset) for b in bars if abs(float(b.duration.quarterLength) - bar_q) < 0.01)
    keys = list(first.recurse().getElementsByClass("KeySignature"))
    key = keys[0] if keys else None
    if key is not None and not hasattr(key, "tonic"):
        key = key.asKey("major")
    mode = key.mode if key else "major"
    mode = {"aeolian": "minor", "ionian": "major"}.get(mode, mode)
    notes = tuple(_read_notes(p, max_bars) for p in parts)
    return Score(notes, whole, bar_q, signature.ratioString, key.tonic.pitchClass if key else 0, mode)


def read_abc(text: str) -> Score:
    """Parses one ABC tune; raises ValueError if music21 cannot read it or it has too little music."""
    from music21 import converter

    try:
        score = _read_score(converter.parse(text, format="abc"))
    except Exception as error:  # music21 raises many kinds on odd ABC, and any of them means: leave the tune out
        raise ValueError(f"unreadable ABC: {type(error).__name__}") from error
    if len(score.bars_q) < 8 or not score.parts[0]:
        raise ValueError("fewer than eight complete bars")
    if score.mode not in ("major", "minor", "dorian", "mixolydian"):
        raise ValueError(f"unusual mode {score.mode}")
    return score


def read_musicxml(path: Path, max_bars: int | None = None) -> Score:
    """Parses a score at sounding pitch; `max_bars` keeps to the opening of files that hold a whole opus."""
    from music21 import converter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # music21 remarks on every overfull bar
        stream = converter.parse(path)
    if any(part.getInstrument(returnDefault=True).transposition for part in stream.parts):
        stream = stream.toSoundingPitch()
    return _read_score(stream, max_bars)


def cut(score: Score, start_q: float, dur_s: float, sec_per_q: float) -> list[CutNote]:
    """Notes whose onset lies in `dur_s` seconds from `start_q`, moved so that the first onset is at 0."""
    window_q = dur_s / sec_per_q
    inside = [(part, n) for part, notes in enumerate(score.parts) for n in notes if start_q - 1e-6 <= n.start_q]
    if not inside:
        return []
    first = min(n.start_q for _, n in inside)
    return [
        CutNote((n.start_q - first) * sec_per_q, n.dur_q * sec_per_q, n.pitch, part)
        for part, n in inside
        if n.start_q < first + window_q
    ]


def measure_coverage(notes: list[CutNote], dur_s: float) -> float:
    """Share of the window in which some note sounds, 0-1."""
    grid = [False] * int(dur_s * 100)
    for n in notes:
        for i in range(int(n.start_s * 100), min(len(grid), int((n.start_s + n.dur_s) * 100))):
            grid[i] = True
    return sum(grid) / max(1, len(grid))


def find_starts(score: Score, dur_s: float, sec_per_q: float) -> list[float]:
    """Bars (every second one) from which a window fits and is well filled."""
    good = []
    for start in score.bars_q[::2]:
        if start + dur_s / sec_per_q > score.end_q + 0.5:
            break
        notes = cut(score, start, dur_s, sec_per_q)
        on_bar = any(abs(n.start_q - start) < 1e-3 for part in score.parts for n in part)
        if on_bar and len(notes) >= 6 and measure_coverage(notes, dur_s) >= 0.85:
            good.append(start)
    return good
