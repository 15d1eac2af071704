"""Groups tunes that are one work: the same title, or too many melodic phrases in common.

Prints share tunes under other names, so titles alone would let a decoy's melody be trained on. A tune's
fingerprint is its set of 9-grams of diatonic steps (letters only, so key and accidentals do not matter).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

from sources import Tune

GRAM = 9  # steps a phrase
SHARED = 6  # phrases in common that make two tunes one work
FILLER = r"\b(the|a|an|reel|jig|hornpipe|strathspey|clog|march|miss|mrs|mr|favou?rite|setting|1st|2nd|3rd|s)\b"


def normalise_title(title: str) -> str:
    """Title without case, punctuation, filler and genre words."""
    plain = re.sub(r"['\u2019`.]", "", title.lower())
    return re.sub(r"[^a-z0-9]+", "", re.sub(FILLER, " ", plain))


def find_phrases(abc: str) -> set[tuple[int, ...]]:
    """Fingerprint of an ABC tune: 9-grams of steps between successive note letters, in scale degrees."""
    body = [s for s in abc.splitlines() if not re.match(r"[A-Za-z]:|%", s)]
    text = re.sub(r'"[^"]*"|\{[^}]*\}|![^!]*!|\[[A-Za-z]:[^\]]*\]', "", "\n".join(body))
    degrees = []
    for letter, octave in re.findall(r"([A-Ga-g])([,']*)", text):
        high = 7 * (letter.islower() + octave.count("'") - octave.count(","))
        degrees.append("CDEFGAB".index(letter.upper()) + high)
    steps = [b - a for a, b in pairwise(degrees)]
    grams = (tuple(steps[i : i + GRAM]) for i in range(len(steps) - GRAM + 1))
    return {g for g in grams if len(set(g)) > 2}  # scales and repeated notes are common property


def group_works(tunes: list[Tune]) -> list[int]:
    """Work number of each tune (union of equal titles and shared phrases)."""
    parent = list(range(len(tunes)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    by_title: dict[str, int] = {}
    holders: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, tune in enumerate(tunes):
        for title in tune.titles:
            name = normalise_title(title)
            if len(name) > 3:
                parent[find(i)] = find(by_title.setdefault(name, i))
        for gram in find_phrases(tune.text):
            holders[gram].append(i)
    common: Counter[tuple[int, int]] = Counter()
    for who in holders.values():
        if len(who) <= 12:  # a phrase that thirteen tunes share is idiom, not identity
            common.update((a, b) for k, a in enumerate(who) for b in who[k + 1 :])
    for (a, b), count in common.items():
        if count >= SHARED:
            parent[find(a)] = find(b)
    return [find(i) for i in range(len(tunes))]
