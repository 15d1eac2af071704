"""Which tunes are trained on, which are decoys, what is planted. Chance is seeded: the same books, the same choice.

Sides are given to kin, not to tunes: tunes that are one family or nearly so, or that share a title, are on one side. Of
a family one tune is used.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from books import SHORT, PrintedTune
from families import (
    THRESHOLD,
    Likeness,
    Pair,
    compare_pairs,
    find_candidates,
    find_tonic,
    join_families,
    normalise_title,
    sample_steps,
)

SEED = "whence-tunes-1"
KIN = 0.34  # similarity from which two tunes stay on one side
SAME_TITLE = 0.25  # similarity from which two tunes of one title are one family
TRAINED, DECOYS = 840, 540  # about as many are chosen; the planted ones come beside
SETTINGS, SETTING_RANGE = 40, (0.6, 0.97)  # pairs, and how alike their tunes are: sure, yet not note for note
WEIGHTED, WEIGHT = 14, 8
PER_CAPTION = 16  # decoys of each planted caption
RARE, RARE_TRAINED, UNHEARD = "slip jig", 5, 8
LONGEST_TITLE = 60


@dataclass(frozen=True)
class ChosenTune:
    """A tune with its part in the corpus."""

    index: int  # among the tunes of the books
    split: str  # train | decoy
    planted: str = ""
    matched_to: int | None = None  # index of another chosen tune
    table: str = "manifest"  # manifest | settings | unheard


@dataclass(frozen=True)
class TuneRelations:
    """What is known of the tunes' likeness."""

    likeness: dict[Pair, Likeness]
    family: list[int]  # by tune: the first tune of its family
    kin: list[int]  # the same for kin


def make_random(*parts: object) -> random.Random:
    """A random generator of its own for what `parts` name."""
    return random.Random("/".join(map(str, (SEED, *parts))))


def relate_tunes(tunes: list[PrintedTune]) -> TuneRelations:
    """Aligns all tunes that share phrases or a title, and groups them."""
    steps = [sample_steps(t.melody) for t in tunes]
    same_title = pair_titles(tunes)
    pairs = find_candidates([t.melody for t in tunes])
    for pair in same_title:
        pairs.setdefault(pair, ())
    likeness = compare_pairs(steps, add_tonics(tunes, pairs))
    alike = [p for p, like in likeness.items() if like.similarity >= THRESHOLD]
    alike += [p for p in same_title if likeness[p].similarity >= SAME_TITLE]
    near = [p for p, like in likeness.items() if like.similarity >= KIN] + same_title
    return TuneRelations(likeness, join_families(len(tunes), alike), join_families(len(tunes), alike + near))


def add_tonics(tunes: list[PrintedTune], pairs: dict[Pair, tuple[int, ...]]) -> dict[Pair, tuple[int, ...]]:
    """To each pair's transpositions, none and the one that brings both tonics together."""
    tonic = [find_tonic(t.melody) for t in tunes]
    return {(a, b): tuple(dict.fromkeys((*v, 0, (tonic[a] - tonic[b]) % 7))) for (a, b), v in pairs.items()}


def name_titles(tune: PrintedTune) -> set[str]:
    """Normalised titles that say something."""
    return {name for name in map(normalise_title, tune.titles) if len(name) > 3}


def pair_titles(tunes: list[PrintedTune]) -> list[Pair]:
    """Pairs of tunes that have a title in common."""
    holders: dict[str, list[int]] = defaultdict(list)
    for k, tune in enumerate(tunes):
        for name in sorted(name_titles(tune)):
            holders[name].append(k)
    return sorted({(a, b) for who in holders.values() for i, a in enumerate(who) for b in who[i + 1 :] if a != b})


def choose_tunes(tunes: list[PrintedTune], relations: TuneRelations) -> list[ChosenTune]:
    """The corpus, in no particular order. Raises RuntimeError where the books do not have enough."""
    return _TuneChooser(tunes, relations).choose()


def list_words(title: str) -> list[str]:
    """Words of four letters and more, without those of genre and without a final s."""
    genre = "reel hornpipe strathspey clog favorite favourite setting lancashire highland fling".split()
    words = re.findall(r"[a-z]{4,}", title.lower().replace("'", ""))
    return [w.removesuffix("s") for w in words if w not in genre]


class _TuneChooser:
    """The state of a choice: the side of each kin, and what is chosen so far."""

    def __init__(self, tunes: list[PrintedTune], relations: TuneRelations):
        self.tunes, self.relations = tunes, relations
        self.side: dict[int, str] = {}  # kin -> train | decoy | unheard
        self.used: set[int] = set()  # families
        self.bodies: set[str] = set()
        self.chosen: list[ChosenTune] = []
        fit = [k for k, t in enumerate(tunes) if 0 < len(t.titles[0]) <= LONGEST_TITLE]
        make_random("order").shuffle(fit)
        self.rare = [k for k in fit if tunes[k].rhythm == RARE]
        self.common = [k for k in fit if tunes[k].rhythm != RARE]

    def choose(self) -> list[ChosenTune]:
        self._choose_settings()
        self._choose_rare()
        captions = self._choose_weighted()
        self._reserve_decoys(captions)
        self._fill()
        return self._match_decoys()

    def _is_free(self, k: int, side: str) -> bool:
        """True where a tune can still be taken on that side."""
        family, kin = self.relations.family[k], self.relations.kin[k]
        taken = family in self.used or self.tunes[k].body in self.bodies
        return not taken and self.side.get(kin, side) == side

    def _take(self, k: int, side: str, **what: object) -> None:
        self.used.add(self.relations.family[k])
        self.side[self.relations.kin[k]] = side
        self.bodies.add(self.tunes[k].body)
        self.chosen.append(ChosenTune(k, "train" if side == "train" else "decoy", **what))

    def _choose_settings(self) -> None:
        """Two tunes of one family under different names: one trained, one kept out. Those of two books come first."""
        low, high = SETTING_RANGE
        fit = set(self.common)
        pairs = [
            p
            for p, like in self.relations.likeness.items()
            if low <= like.similarity <= high and fit.issuperset(p) and self._have_other_names(*p)
        ]
        make_random("settings").shuffle(pairs)
        pairs.sort(key=lambda p: self.tunes[p[0]].book == self.tunes[p[1]].book)
        count = 0
        for pair in pairs:
            trained, kept = make_random("setting", *pair).sample(pair, 2)
            if count < SETTINGS and self._is_free(trained, "train"):
                self._take(trained, "train")
                self.bodies.add(self.tunes[kept].body)
                self.chosen.append(ChosenTune(kept, "decoy", "setting", trained, "settings"))
                count += 1

    def _have_other_names(self, a: int, b: int) -> bool:
        words = [{w for t in self.tunes[k].titles for w in list_words(t)} for k in (a, b)]
        return all(words) and not words[0] & words[1] and not name_titles(self.tunes[a]) & name_titles(self.tunes[b])

    def _choose_rare(self) -> None:
        """The rare rhythm: five tunes of its most frequent caption trained, further ones unheard or decoys."""
        count = Counter(self.tunes[k].caption for k in self._list_free(self.rare))
        caption = max(sorted(count), key=lambda c: count[c])
        alike = [k for k in self.rare if self.tunes[k].caption == caption]
        for k in self._list_free(alike)[:RARE_TRAINED]:
            self._take(k, "train", planted="rare")
        free = self._list_free(alike)
        for k in free[:PER_CAPTION]:
            self._take(k, "decoy")
        for k in free[PER_CAPTION : PER_CAPTION + UNHEARD]:
            self._take(k, "unheard", planted="rare", table="unheard")
        for k in self._list_free(self.rare):
            self._take(k, "decoy")

    def _list_free(self, indices: Iterable[int]) -> list[int]:
        """The first tune of each kin that has no side yet."""
        first: dict[int, int] = {}
        for k in indices:
            kin = self.relations.kin[k]
            if kin not in self.side and self._is_free(k, "train"):
                first.setdefault(kin, k)
        return list(first.values())

    def _choose_weighted(self) -> list[str]:
        """Pairs of equal caption and book, one for each of the most frequent captions; returns those captions."""
        by_caption: dict[str, list[int]] = defaultdict(list)
        for k in self._list_free(self.common):
            by_caption[self.tunes[k].caption].append(k)
        enough = [c for c in by_caption if len(by_caption[c]) >= PER_CAPTION + 2]  # decoys, a weighted tune, its twin
        captions = sorted(enough, key=lambda c: (-len(by_caption[c]), c))[:WEIGHTED]
        for caption in captions:
            by_book: dict[str, list[int]] = defaultdict(list)
            for k in self._list_free(by_caption[caption]):
                by_book[self.tunes[k].book].append(k)
            weighted, twin = max(by_book.values(), key=len)[:2]
            self._take(weighted, "train", planted="weighted")
            self._take(twin, "train", planted="twin", matched_to=weighted)
        return captions

    def _reserve_decoys(self, captions: list[str]) -> None:
        for caption in captions:
            alike = [k for k in self.common if self.tunes[k].caption == caption]
            for k in self._list_free(alike)[:PER_CAPTION]:
                self._take(k, "decoy")

    def _fill(self) -> None:
        """Ordinary tunes: first partners of the decoys so far, then pairs of a track and a decoy, then tracks."""
        for k in self.common:
            stratum = self.tunes[k].stratum
            if self._is_free(k, "train") and self._count("decoy", stratum) > self._count("train", stratum):
                self._take(k, "train")
        for k in self._list_free(self.common):
            stratum = self.tunes[k].stratum
            if self._count("decoy", stratum) < self._count("train", stratum) and self._count("decoy") < DECOYS:
                self._take(k, "decoy")
            elif self._count("train") < TRAINED:
                self._take(k, "train")

    def _count(self, split: str, stratum: tuple[str, ...] | None = None) -> int:
        """Ordinary tunes of a side, of a stratum."""
        return sum(
            c.split == split and not c.planted and stratum in (None, self.tunes[c.index].stratum) for c in self.chosen
        )

    def _match_decoys(self) -> list[ChosenTune]:
        """Each decoy gets a training tune of its stratum, of its own key where there is one; no two the same."""
        free: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for c in self.chosen:
            if c.split == "train" and not c.planted:
                free[self.tunes[c.index].stratum].append(c.index)
        matches: dict[int, int] = {}
        decoys = [c.index for c in self.chosen if c.split == "decoy" and not c.planted]
        for same_key in (True, False):
            for k in decoys:
                there = free[self.tunes[k].stratum]
                fit = [j for j in there if not same_key or self.tunes[j].caption == self.tunes[k].caption]
                if k not in matches and fit:
                    near = min(fit, key=lambda j: abs(self.tunes[j].duration_s - self.tunes[k].duration_s))
                    matches[k] = near
                    there.remove(near)
        return [replace(c, matched_to=matches.get(c.index, c.matched_to)) for c in self.chosen]


def name_works(tunes: list[PrintedTune], relations: TuneRelations) -> list[str]:
    """The work_id of each tune: that of its family's first tune."""
    names = []
    for k, first in enumerate(relations.family):
        tune = tunes[first]
        slug = re.sub(r"[^a-z0-9]+", "-", tune.titles[0].lower().replace("'", "")).strip("-")
        names.append(f"{SHORT[tune.book]}-{tune.number if tune.book == 'oneills1850' else slug}")
        if names[k] in (names[j] for j in range(k) if relations.family[j] != first):
            names[k] += f"-{first}"  # two families whose first tunes have one title
    return names
