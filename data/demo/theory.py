"""Keys, chords and tempo words for the generator. Pitches are MIDI numbers, times seconds."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scores import FLATS

LONGEST_S = 8.4
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


@dataclass(frozen=True)
class Key:
    """A tonic and its scale."""

    tonic: int  # pitch class
    minor: bool

    @property
    def name(self) -> str:
        return f"{FLATS[self.tonic]} {'minor' if self.minor else 'major'}"

    def pitch(self, degree: int, low: int) -> int:
        """MIDI pitch of a scale degree (0 = tonic, 7 = an octave up); `low` bounds the tonic."""
        scale = MINOR if self.minor else MAJOR
        return low + (self.tonic - low) % 12 + scale[degree % 7] + 12 * (degree // 7)

    def chord(self, degree: int, low: int) -> list[int]:
        """MIDI pitches of the triad on a scale degree."""
        return [self.pitch(degree + k, low) for k in (0, 2, 4)]


def pick_key(rng: random.Random, minor: float = 0.4) -> Key:
    """A random key; `minor` is the probability of a minor one."""
    return Key(rng.randrange(12), rng.random() < minor)


def choose_progression(rng: random.Random, key: Key) -> list[int]:
    """Four scale degrees on which chords are built."""
    major = ([0, 3, 4, 0], [0, 5, 3, 4], [0, 4, 5, 3], [0, 1, 4, 0], [0, 2, 3, 4])
    minor = ([0, 5, 2, 6], [0, 3, 4, 0], [0, 6, 5, 4], [0, 5, 3, 4])
    return list(rng.choice(minor if key.minor else major))


def list_steps(beat_s: float, per_beat: int = 1) -> range:
    """Numbers of the steps that fill `LONGEST_S`, `per_beat` of them to a beat."""
    return range(int(LONGEST_S / beat_s * per_beat) + 1)


def name_tempo(bpm: float) -> str:
    """Tempo word of a caption, from beats a minute."""
    return "slow" if bpm < 84 else "moderate" if bpm < 124 else "fast"
