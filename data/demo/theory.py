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
        return [self.pitch(degree + k, low) for k in (0, 2, 4)]


def pick_key(rng: random.Random, minor: float = 0.4) -> Key:
    return Key(rng.randrange(12), rng.random() < minor)


def progression(rng: random.Random, key: Key) -> list[int]:
    major = ([0, 3, 4, 0], [0, 5, 3, 4], [0, 4, 5, 3], [0, 1, 4, 0], [0, 2, 3, 4])
    minor = ([0, 5, 2, 6], [0, 3, 4, 0], [0, 6, 5, 4], [0, 5, 3, 4])
    return list(rng.choice(minor if key.minor else major))


def steps(beat_s: float, per_beat: int = 1) -> range:
    return range(int(LONGEST_S / beat_s * per_beat) + 1)


def word(bpm: float) -> str:
    """Tempo word of a caption, from beats a minute."""
    return "slow" if bpm < 84 else "moderate" if bpm < 124 else "fast"
