"""ABC as it was typed -> a melody in bars -> ABC in one spelling. Lengths in whole notes; MIDI pitch, middle C = 60.

What goes: words, chord symbols, fingering, ornaments, slurs, spacing of the original. What stays: pitches, lengths,
ties between equal pitches, tuplets, bars, repeats and endings. `read_melody` refuses what it cannot say surely.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction

LETTERS = "CDEFGAB"
SEMITONES = dict(zip(LETTERS, (0, 2, 4, 5, 7, 9, 11), strict=True))
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
SIGNS = {alter: sign for sign, alter in ACCIDENTALS.items()}
FIFTHS = {letter: k for k, letter in enumerate("FCGDAEB", start=-1)}  # sharps of the major key on that letter
MODES = {  # how transcribers write a mode: (how it is written here, its name, sharps more than the major key's)
    **dict.fromkeys(("", "maj", "major"), ("", "major", 0)),
    **dict.fromkeys(("m", "min", "minor"), ("m", "minor", -3)),
    **dict.fromkeys(("dor", "dorian"), ("dor", "dorian", -2)),
    **dict.fromkeys(("mix", "mixolydian"), ("mix", "mixolydian", -1)),
    **dict.fromkeys(("lyd", "lydian"), ("lyd", "lydian", 1)),
    **dict.fromkeys(("phr", "phrygian"), ("phr", "phrygian", -4)),
}
METRES = {"C": "4/4", "C|": "2/2"}  # every other metre is written as it is
NORMAL = {2: 3, 3: 2, 4: 3, 6: 2}  # notes of a tuplet -> in the time of how many

_ELEMENT = re.compile(
    r"""
    (?P<aside>"[^"]*"|\{[^}]*\}|![^!\n]*!|\+[^+\n]*\+|[.~`\\\sHI-Wh-wy])
    |(?P<field>\[[A-Za-z]:[^\]]*\])
    |\((?P<tuplet>[2-9])(?P<ratio>(?::\d?){0,2})
    |(?P<slur>[()])
    |(?P<sign>(?:\[?\|+\]?|:)+)(?:\[?(?P<ending>[1-9])(?!\d))?
    |\[(?P<late>[1-9])(?!\d)
    |(?P<chord>\[[^\]|:]+\])(?P<chord_length>\d*/*\d*)
    |(?P<note>(?:\^\^|__|\^|_|=)?[A-Ga-gzx][,']*)(?P<length>\d*/*\d*)
    |(?P<broken>>+|<+)
    |(?P<tie>-)
    """,
    re.X,
)
_NOTE = re.compile(r"(\^\^|__|\^|_|=)?([A-Ga-gzx])([,']*)(\d*/*\d*)")
_SYMBOL = re.compile(r"\|:|:\|2|:\||::|\|1|\|\||\|\]|\||\(\d|-|(?:\^\^|__|\^|_|=)?[A-Ga-gz][,']*|\d+(?:/\d+)?|/\d+")


class NotationError(ValueError):
    """Raised for ABC that this reader does not support; its message is why the tune is set aside."""


@dataclass(frozen=True)
class TuneNote:
    """A note or rest."""

    step: int | None  # diatonic steps above middle C; None for a rest
    alter: int  # semitones above the natural
    written: Fraction  # as the length is written, whole notes
    scale: Fraction = Fraction(1)  # of a tuplet: sounding length over written length
    tuplet: int = 0  # of the first note of a tuplet: how many notes it has
    tied: bool = False  # to the next note, which has the same pitch

    @property
    def length(self) -> Fraction:
        """Sounding length in whole notes."""
        return self.written * self.scale

    @property
    def pitch(self) -> int | None:
        """MIDI number; None for a rest."""
        if self.step is None:
            return None
        return 60 + 12 * (self.step // 7) + SEMITONES[LETTERS[self.step % 7]] + self.alter


@dataclass(frozen=True)
class BarSign:
    """A bar line between two bars, with repeat and ending signs."""

    closes: bool = False  # end of a repeated part
    opens: bool = False  # beginning of a repeated part
    strong: bool = False  # end of a part that is not repeated
    ending: str = ""  # "1", "2": first or second ending begins here

    @property
    def is_boundary(self) -> bool:
        """True where a part ends or begins, so that the bars beside it may be incomplete."""
        return self.closes or self.opens or self.strong or bool(self.ending)


@dataclass(frozen=True)
class Key:
    """Tonic and mode."""

    tonic: str  # "G", "Bb", "F#"
    mode: str  # as in MODES' values: "", "m", "dor", ...

    @property
    def name(self) -> str:
        """In words: 'B flat major'."""
        accidental = {"b": " flat", "#": " sharp"}.get(self.tonic[1:], "")
        return f"{self.tonic[0]}{accidental} {self.mode_name}"

    @property
    def mode_name(self) -> str:
        """'major', 'dorian', ..."""
        return next(name for short, name, _ in MODES.values() if short == self.mode)

    def alter(self, step: int) -> int:
        """Semitones that the signature adds to a diatonic step: -1, 0 or 1."""
        shift = next(sharps for short, _, sharps in MODES.values() if short == self.mode)
        sharps = FIFTHS[self.tonic[0]] + 7 * (self.tonic[1:] == "#") - 7 * (self.tonic[1:] == "b") + shift
        place = FIFTHS[LETTERS[step % 7]] + 1  # in the order of sharps, from 0
        return int(place < sharps) - int(6 - place < -sharps)

    def __str__(self) -> str:
        return self.tonic + self.mode


@dataclass(frozen=True)
class Melody:
    """A tune in bars; sign k stands before bar k, the last one after the last bar."""

    key: Key
    metre: str  # "6/8", "2/2"
    bars: tuple[tuple[TuneNote, ...], ...]
    signs: tuple[BarSign, ...]

    @property
    def bar_length(self) -> Fraction:
        """Length of a full bar in whole notes."""
        return Fraction(self.metre)

    @property
    def unit(self) -> Fraction:
        """The most common written length of a note: it is written without a number."""
        count = Counter(n.written for bar in self.bars for n in bar if n.step is not None)
        units = [Fraction(1, k) for k in (4, 8, 16)]
        return max(units, key=lambda unit: (count[unit], -unit))

    def measure_bars(self) -> list[Fraction]:
        """Length of each bar in whole notes."""
        return [sum((n.length for n in bar), Fraction(0)) for bar in self.bars]

    def find_irregular_bars(self) -> list[int]:
        """Bars that do not add up to the metre; beside a repeat, an ending or a double bar a shorter one is regular."""
        lengths = self.measure_bars()
        return [
            k
            for k, length in enumerate(lengths)
            if length != self.bar_length
            and not (length < self.bar_length and (self._is_outer(k) or self._is_outer(k + 1)))
        ]

    def _is_outer(self, k: int) -> bool:
        return k in (0, len(self.bars)) or self.signs[k].is_boundary

    def order_bars(self) -> list[int]:
        """Bar numbers in the order in which they are played, with repeats."""
        order: list[int] = []
        start, first = 0, None  # of the part that is repeated; its first ending
        for k in range(len(self.bars) + 1):
            sign = self.signs[k]
            if sign.ending == "1":
                first = k
            if sign.closes:
                order += range(start, first if first is not None else k)
            if sign.closes or sign.opens or sign.strong:
                start, first = k, None
            if k < len(self.bars):
                order.append(k)
        return order

    def count_seconds(self, bar_s: float) -> float:
        """Seconds that it lasts, played with repeats, a full bar taking `bar_s`."""
        lengths = self.measure_bars()
        return float(sum(lengths[k] for k in self.order_bars()) / self.bar_length) * bar_s

    def format(self) -> str:
        """The body in one spelling: a space after each beat, a line for four bars or to the end of a part."""
        lines, count = ["|:" if self.signs[0].opens else ""], 0
        for k, bar in enumerate(self.bars):
            late = k == 0 or (self.signs[k].is_boundary and not self.signs[k].ending)  # may begin with a pick-up
            lines[-1] += _format_bar(bar, self, self.unit, from_end=late)
            count += not (late and sum((n.length for n in bar), Fraction(0)) < self.bar_length)
            after = self.signs[k + 1]
            if k == len(self.bars) - 1:
                lines[-1] += ":|" if after.closes else "|]"
                break
            lines[-1] += _format_sign(after)
            if not after.ending and (count >= 4 or after.is_boundary):
                lines.append("")
                count = 0
        return "\n".join(lines)


def _format_sign(sign: BarSign) -> str:
    if sign.closes:
        return "::" if sign.opens else f":|{sign.ending}"
    if sign.opens:
        return "|:"
    return f"|{sign.ending}" if sign.ending else "||" if sign.strong else "|"


def _format_bar(bar: tuple[TuneNote, ...], melody: Melody, unit: Fraction, from_end: bool) -> str:
    """`from_end`: the bar may begin late, so that beats are counted from its end."""
    top, bottom = map(int, melody.metre.split("/"))
    beat = Fraction(3, 8) if bottom == 8 and top % 3 == 0 else Fraction(1, 2) if top == 2 == bottom else Fraction(1, 4)
    total = sum((n.length for n in bar), Fraction(0))
    position = melody.bar_length - total if from_end and total < melody.bar_length else Fraction(0)
    state: dict[int, int] = {}  # step -> alter, as set in this bar
    out = ""
    for k, note in enumerate(bar):
        out += f"({note.tuplet}" if note.tuplet else ""
        if note.step is None:
            out += "z"
        else:
            implied = state.get(note.step, melody.key.alter(note.step))
            elsewhere = {alter for step, alter in state.items() if step % 7 == note.step % 7}
            if note.alter != implied or elsewhere - {note.alter}:  # sure in every reading of an octave's accidental
                out += SIGNS[note.alter]
                state[note.step] = note.alter
            out += _format_step(note.step)
        out += _format_length(note.written / unit) + ("-" if note.tied else "")
        position += note.length
        if k < len(bar) - 1 and position % beat == 0:
            out += " "
    return out


def _format_step(step: int) -> str:
    octave, letter = step // 7, LETTERS[step % 7]
    return letter + "," * -octave if octave <= 0 else letter.lower() + "'" * (octave - 1)


def _format_length(length: Fraction) -> str:
    if length == 1:
        return ""
    top, bottom = length.numerator, length.denominator
    return str(top) if bottom == 1 else f"/{bottom}" if top == 1 else f"{top}/{bottom}"


def list_symbols(body: str) -> list[str]:
    """The symbols of a formatted body in order: notes, lengths, ties, tuplets, bar signs. Raises ValueError."""
    text = re.sub(r"\s", "", body)
    symbols = _SYMBOL.findall(text)
    if "".join(symbols) != text:
        raise ValueError("the body holds something that is no symbol")
    return symbols


# Reading


def read_key(text: str) -> Key:
    """'E Minor' -> Key('E', 'm'). Raises NotationError."""
    match = re.fullmatch(r"([A-G][b#]?)\s*([A-Za-z]*)", text)
    if not match or match[2] == "M" or match[2].lower() not in MODES:
        raise NotationError(f"key {text!r}")
    return Key(match[1], MODES[match[2].lower()][0])


def read_melody(text: str) -> Melody:
    """A tune's ABC, header and body -> its melody. Raises NotationError with a reason."""
    fields: dict[str, str] = {}
    music: list[str] = []
    for line in re.sub(r"\r\n?", "\n", text).splitlines():
        plain = re.sub(r"%.*", "", line).rstrip()
        field = re.match(r"([A-Za-z]):(?![|:])\s*(.*)", plain)
        if field and "K" in fields:
            if field[1] in "KLMV":
                raise NotationError("key, metre, unit or voice changes within the tune")
        elif field:
            fields.setdefault(field[1], field[2].strip())
        elif "K" in fields and not plain and music:
            break  # an empty line ends a tune
        elif "K" in fields:
            music.append(plain)
    metre = METRES.get(fields.get("M", ""), fields.get("M", ""))
    if not re.fullmatch(r"\d+/\d+", metre):
        raise NotationError("no metre")
    unit = Fraction(fields.get("L") or ("1/16" if Fraction(metre) < Fraction(3, 4) else "1/8"))
    reader = _MelodyReader(read_key(fields.get("K", "")), unit)
    reader.read("\n".join(music))
    bars, signs = reader.finish()
    return Melody(reader.key, metre, bars, signs)


class _MelodyReader:
    """Reads the body of a tune from left to right."""

    def __init__(self, key: Key, unit: Fraction):
        self.key, self.unit = key, unit
        self.bars: list[list[TuneNote]] = [[]]
        self.signs = [BarSign()]
        self.state: dict[int, int] = {}  # accidentals of the bar
        self.broken = Fraction(1)  # factor of the next note, after > or <
        self.tuplet, self.left, self.scale = 0, 0, Fraction(1)  # of the tuplet in progress: notes, notes to come

    def read(self, text: str) -> None:
        text = re.sub(r'"[^"]*"', "", text)  # before spaces go, which a line of words may hold
        text = re.sub(r"[\s`\\]", "", text)
        at = 0
        while at < len(text):
            match = _ELEMENT.match(text, at)
            if not match:
                raise NotationError(f"{text[at]!r} in the body")
            at = match.end()
            self._take(match)

    def _take(self, match: re.Match[str]) -> None:
        if match["field"]:
            raise NotationError("key, metre, unit or voice changes within the tune")
        if match["tuplet"]:
            if match["ratio"] or int(match["tuplet"]) not in NORMAL or self.left:
                raise NotationError("an unusual tuplet")
            self.tuplet = self.left = int(match["tuplet"])
            self.scale = Fraction(NORMAL[self.tuplet], self.tuplet)
        elif match["sign"] or match["late"]:
            self._end_bar(match["sign"] or "", match["ending"] or match["late"] or "")
        elif match["chord"]:
            notes = [self._read_note(*parts) for parts in _NOTE.findall(match["chord"][1:-1])]
            if not notes:
                raise NotationError("an empty chord")
            highest = max(notes, key=lambda n: -99 if n.pitch is None else n.pitch)
            self._add(replace(highest, written=highest.written * _read_length(match["chord_length"])))
        elif match["note"]:
            self._add(self._read_note(*_NOTE.findall(match["note"])[0][:3], match["length"]))
        elif match["broken"]:
            self._break(match["broken"])
        elif match["tie"]:
            last = self._find_last()
            self.bars[last][-1] = replace(self.bars[last][-1], tied=True)

    def _find_last(self) -> int:
        """The bar that holds the last note so far."""
        for k in (len(self.bars) - 1, len(self.bars) - 2):
            if k >= 0 and self.bars[k]:
                return k
        raise NotationError("a sign that belongs to no note")

    def _read_note(self, accidental: str, letter: str, marks: str, length: str) -> TuneNote:
        written = _read_length(length) * self.unit
        if letter in "zx":
            return TuneNote(None, 0, written)
        step = LETTERS.index(letter.upper()) + 7 * (letter.islower() + marks.count("'") - marks.count(","))
        if accidental:
            self.state[step] = ACCIDENTALS[accidental]
        return TuneNote(step, self.state.get(step, self.key.alter(step)), written)

    def _add(self, note: TuneNote) -> None:
        note = replace(note, written=note.written * self.broken)
        self.broken = Fraction(1)
        if self.left:
            note = replace(note, scale=self.scale, tuplet=self.tuplet if self.left == self.tuplet else 0)
            self.left -= 1
        self.bars[-1].append(note)

    def _break(self, signs: str) -> None:
        if not self.bars[-1] or self.broken != 1 or len(signs) > 2:
            raise NotationError("a broken rhythm without a note")
        short = Fraction(1, 2 ** len(signs))
        long = 2 - short
        first, self.broken = (long, short) if signs[0] == ">" else (short, long)
        self.bars[-1][-1] = replace(self.bars[-1][-1], written=self.bars[-1][-1].written * first)

    def _end_bar(self, sign: str, ending: str) -> None:
        if self.left or self.broken != 1:
            raise NotationError("a bar line within a group of notes")
        self.state = {}
        plain = re.sub(r"[\[\]]", "", sign)
        if ":" in plain[1:-1].strip(":") or plain == ":":
            raise NotationError(f"bar line {sign!r}")
        strong = "||" in plain or sign != plain
        made = BarSign(plain.startswith(":"), plain.endswith(":") and plain != ":", strong, ending)
        if self.bars[-1]:
            self.bars.append([])
            self.signs.append(made)
        else:  # two signs without a note between them are one
            old = self.signs[-1]
            if old.ending and ending:
                raise NotationError("two endings at one place")
            self.signs[-1] = BarSign(
                old.closes or (made.closes and len(self.bars) > 1),
                old.opens or made.opens,
                old.strong or made.strong,
                old.ending or ending,
            )

    def finish(self) -> tuple[tuple[tuple[TuneNote, ...], ...], tuple[BarSign, ...]]:
        """Bars and signs, repeats balanced. Raises NotationError."""
        if self.bars[-1]:
            self.signs.append(BarSign())
            self.bars.append([])
        bars, signs = self.bars[:-1], self.signs
        if len(bars) < 4:
            raise NotationError("fewer than four bars")
        self._settle_ties(bars)
        return tuple(map(tuple, bars)), tuple(_balance_repeats(signs))

    @staticmethod
    def _settle_ties(bars: list[list[TuneNote]]) -> None:
        """A tie between different pitches was meant as a slur, and goes."""
        places = [(k, j) for k, bar in enumerate(bars) for j in range(len(bar))]
        for (k, j), after in zip(places, [*places[1:], None], strict=True):
            note = bars[k][j]
            follower = bars[after[0]][after[1]] if after else None
            if note.tied and (follower is None or note.pitch is None or follower.pitch != note.pitch):
                bars[k][j] = replace(note, tied=False)


def _read_length(text: str) -> Fraction:
    """'3/2', '/', '//' -> 3/2, 1/2, 1/4. Raises NotationError."""
    top, slashes, bottom = re.fullmatch(r"(\d*)(/*)(\d*)", text).groups()
    divisor = int(bottom) * 2 ** (len(slashes) - 1) if bottom else 2 ** len(slashes)
    value = Fraction(int(top or 1), divisor or 1)
    if value <= 0 or (value.denominator & (value.denominator - 1)):
        raise NotationError(f"length {text!r}")
    return value


def _balance_repeats(signs: list[BarSign]) -> list[BarSign]:
    """Every repeated part gets a sign at its beginning; a beginning without an end goes. Raises NotationError."""
    out = list(signs)
    out[0] = replace(out[0], closes=False, strong=False)
    out[-1] = replace(out[-1], opens=False)
    start: int | None = 0  # where the present part begins; None after a second ending, until a part begins
    first = False  # inside a first ending
    for k in range(1, len(out)):
        sign = out[k]
        if sign.ending not in ("", "1", "2") or (sign.ending == "2") != (first and sign.closes):
            raise NotationError("endings that are not a first and a second one")
        if sign.ending == "1" and (sign.closes or sign.opens or first):
            raise NotationError("endings that are not a first and a second one")
        if sign.closes:
            if start is None:
                raise NotationError("a repeat without a beginning")
            out[start] = replace(out[start], opens=True)
        elif sign.opens or (sign.strong and not sign.ending) or k == len(out) - 1:
            if first:
                raise NotationError("endings that are not a first and a second one")
            if start is not None:
                out[start] = replace(out[start], opens=False, strong=True)
        first = sign.ending == "1" or (first and not sign.closes)
        if sign.closes and sign.ending == "2":
            start = None
        elif sign.closes or sign.opens or (sign.strong and not sign.ending):
            start = k
    out[0] = replace(out[0], strong=False, ending="")
    return out
