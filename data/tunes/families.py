"""Groups tunes into families: settings of one tune, whatever their name, key and book.

A tune is sampled at equal steps (8 a bar in duple time, one an eighth in compound and triple time), repeats not played.
A step is the letter of its pitch, C = 0 to B = 6: octave, accidentals and mode do not count, because settings differ in
them. Two tunes are aligned locally (Smith and Waterman 1981) at the likeliest transpositions; `similarity` is the
alignment's score as a share of the shorter tune: 1 = note for note, one of two strains in common about 0.5. Only pairs
that share phrases are aligned: all three million would take half an hour.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from notation import LETTERS, Melody

PHRASE, COARSE = 7, 6  # steps of a phrase; of one that skips weak steps
COMMON = 60  # a phrase of more tunes than this is idiom, and makes no candidates
SHARED = 3  # phrases in common that make two tunes candidates
THRESHOLD = 0.4  # similarity from which two tunes are one family; data/README.md says how it was chosen
LONGEST = 320  # steps of a tune that are looked at
GAP = 1.0  # of a step that only one tune has
SCORES = (1.0, -0.7, -0.6, -0.9)  # by distance of letters: unison or octave, second, third, fourth
REST, PAD = 7, 8  # codes beside letters

Steps = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Likeness:
    """Result of the alignment of two tunes."""

    similarity: float  # 0 to 1
    transposition: int  # letters by which the second tune is raised, 0 to 6


def sample_steps(melody: Melody, every: int = 1) -> Steps:
    """Letter at each step, `REST` for a rest; `every`: at each second or third step of a bar alone."""
    step = measure_step(melody)
    letters: list[int] = []
    for bar, length in zip(melody.bars, melody.measure_bars(), strict=True):
        now = max(Fraction(0), melody.bar_length - length)  # a short bar is mostly a pick-up: count from its end
        for note in bar:
            first, now = now, now + note.length
            at = math.ceil(first / (step * every)) * every
            while at * step < now:
                letters.append(REST if note.step is None else note.step % 7)
                at += every
    return tuple(letters[:LONGEST])


def measure_step(melody: Melody) -> Fraction:
    """Length of a step in whole notes."""
    return melody.bar_length / 8 if melody.metre in ("2/2", "2/4", "4/4") else Fraction(1, 8)


def list_phrases(steps: Steps, length: int) -> dict[tuple[int, ...], set[int]]:
    """Phrases by their intervals -> letters on which they begin."""
    phrases: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for k in range(len(steps) - length + 1):
        part = steps[k : k + length]
        if REST not in part and len(set(part)) >= 4:
            phrases[tuple((p - part[0]) % 7 for p in part)].add(part[0])
    return dict(phrases)


def find_candidates(tunes: Sequence[Melody]) -> dict[Pair, tuple[int, ...]]:
    """Pairs that share phrases, as written or without their weak steps -> the two likeliest transpositions."""
    votes: dict[Pair, Counter[int]] = defaultdict(Counter)
    count: Counter[Pair] = Counter()
    for coarse in (False, True):
        length = COARSE if coarse else PHRASE
        every = [list_phrases(sample_steps(t, _skip(t) if coarse else 1), length) for t in tunes]
        holders: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for k, phrases in enumerate(every):
            for phrase in phrases:
                holders[phrase].append(k)
        for phrase, who in holders.items():
            if len(who) > COMMON:
                continue
            weight = math.log(len(tunes) / len(who))
            for i, a in enumerate(who):
                for b in who[i + 1 :]:
                    count[a, b] += 1
                    for x in every[a][phrase]:
                        for y in every[b][phrase]:
                            votes[a, b][(x - y) % 7] += weight
    found = sorted(pair for pair, number in count.items() if number >= SHARED)
    best = {pair: sorted(votes[pair].items(), key=lambda v: (-v[1], v[0]))[:2] for pair in found}
    return {pair: tuple(t for t, _ in ranked) for pair, ranked in best.items()}


def _skip(melody: Melody) -> int:
    """Return the number of steps from one strong step to the next: 2 or 3."""
    return 3 if melody.metre in ("6/8", "9/8", "12/8", "3/8") else 2


def align(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Scores of local alignments. Both [pairs, steps], padded with `PAD`; -> [pairs], in matched steps.

    Cells of one antidiagonal do not depend on each other, so that a step of the loop fills one in all pairs.
    """
    table = np.full((PAD + 1, PAD + 1), -GAP, np.float32)
    for a in range(7):
        for b in range(7):
            table[a, b] = SCORES[min((a - b) % 7, (b - a) % 7)]
    table[PAD, :] = table[:, PAD] = -99
    pairs, n, m = len(first), first.shape[1], second.shape[1]
    backwards = second[:, ::-1]
    last = np.zeros((pairs, n + 1), np.float32)  # antidiagonal d - 1, by steps of the first tune
    before = np.zeros_like(last)
    best = np.zeros(pairs, np.float32)
    for d in range(n + m - 1):
        low, high = max(0, d - m + 1), min(n, d + 1)
        match = table[first[:, low:high], backwards[:, m - 1 - d + low : m - 1 - d + high]]
        now = np.zeros_like(last)
        cell = np.maximum(before[:, low:high] + match, last[:, low:high] - GAP)
        np.maximum(cell, last[:, low + 1 : high + 1] - GAP, out=cell)
        np.maximum(cell, 0, out=now[:, low + 1 : high + 1])
        np.maximum(best, cell.max(axis=1), out=best)
        before, last = last, now
    return best


def compare_pairs(tunes: Sequence[Steps], pairs: dict[Pair, tuple[int, ...]], batch: int = 512) -> dict[Pair, Likeness]:
    """Likeness of each pair at the best of the given transpositions."""
    jobs = [(len(tunes[a]) + len(tunes[b]), a, b, t) for (a, b), shifts in pairs.items() for t in shifts]
    jobs.sort()  # tunes of like length share a batch
    found: dict[Pair, Likeness] = {}
    for k in range(0, len(jobs), batch):
        part = jobs[k : k + batch]
        first = _pad([tunes[a] for _, a, _, _ in part])
        second = _pad([_transpose(tunes[b], t) for _, _, b, t in part])
        for (_, a, b, t), score in zip(part, align(first, second), strict=True):
            share = min(1.0, float(score) / max(1, min(len(tunes[a]), len(tunes[b]))))
            if (a, b) not in found or share > found[a, b].similarity:
                found[a, b] = Likeness(share, t)
    return found


def _transpose(steps: Steps, letters: int) -> Steps:
    return tuple(p if p == REST else (p + letters) % 7 for p in steps)


def _pad(tunes: list[Steps]) -> np.ndarray:
    out = np.full((len(tunes), max(map(len, tunes))), PAD, np.int8)
    for k, steps in enumerate(tunes):
        out[k, : len(steps)] = steps
    return out


def find_tonic(melody: Melody) -> int:
    """Letter of the tonic."""
    return LETTERS.index(melody.key.tonic[0])


def normalise_title(title: str) -> str:
    """A title without case, punctuation, articles, words of genre and of ownership."""
    plain = re.sub(r"['\u2019`.]", "", title.lower())
    genre = "reel|jig|hornpipe|strathspey|clog|slip ?jig|march|waltz|air|fling|highland|set ?dance"
    other = r"the|a|an|of|o|miss|mrs|mr|favou?rites?|1st|2nd|3rd|first|second|third|setting|no|\d+"
    return re.sub(r"[^a-z0-9]+", "", re.sub(rf"\b({genre}|{other})\b", " ", plain))


def join_families(count: int, pairs: Iterable[Pair]) -> list[int]:
    """The family of each tune, named by its first member; a family is what pairs connect."""
    parent = list(range(count))

    def find(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for a, b in pairs:
        one, other = sorted((find(a), find(b)))
        parent[other] = one
    return [find(k) for k in range(count)]
