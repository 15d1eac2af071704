"""The tracks of the corpus: the regular pairs of a training track and its matched decoy.

Nothing is rendered here. Chance comes from `random.Random("text")` only, so that a change in one collection
leaves the others as they were.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import movements as mov
import repertoire as rep
from arrange import DANCES, Dance, TuneSetting, add_article, arrange, arrange_ensemble
from generator import STYLES, GeneratedPiece
from render import Piece
from scores import Score, cut, find_starts, read_abc, read_musicxml
from sources import ALLOWED, CORPUS_LICENCE, NO_CLAIM, NO_CLAIM_SCORE, Tune
from works import group_works

SEED = "whence-demo-1"


@dataclass(frozen=True)
class PlannedTrack:
    """One row of the manifest before it has a number, with what is to be played."""

    work_id: str
    title: str
    composer: str
    collection: str
    rights_holder: str
    licence_composition: str
    licence_encoding: str
    licence_evidence: str
    source: str
    instrument: str
    caption: str
    dur_s: float
    piece: Piece
    planted: str = ""
    level_dbfs: float | None = None


Pair = tuple[PlannedTrack, PlannedTrack]


def make_random(*parts: object) -> random.Random:
    """A random generator of its own for what `parts` name."""
    return random.Random("/".join(map(str, (SEED, *parts))))


def draw_durations(rng: random.Random) -> tuple[float, float]:
    """Two durations in seconds that differ by at most 0.2 s. Neither ends on a bar more often than the other."""
    base = rng.triangular(4.3, 7.75, 7.3)
    return round(base, 3), round(base + rng.uniform(-0.2, 0.2), 3)


def make_slug(text: str) -> str:
    """Lower-case letters and digits, joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("'", "")).strip("-")


def toss_coin(rng: random.Random, a: PlannedTrack, b: PlannedTrack) -> Pair:
    """The two tracks as (training track, decoy), by chance: nothing else tells them apart."""
    return (a, b) if rng.random() < 0.5 else (b, a)


# Tunes


def plan_tune(
    tune: Tune,
    score: Score,
    kind: str,
    setting: TuneSetting,
    dur_s: float,
    rng: random.Random,
    faster: float = 1.0,
) -> PlannedTrack | None:
    """An excerpt of a tune in a setting, or None if no window is well filled or has a fair note rate."""
    dance: Dance = DANCES[kind]
    book = rep.BOOKS[tune.collection]
    bar_s = rng.uniform(*dance.bar_s) * rep.stretch_bar(kind, score.metre) / faster
    starts = find_starts(score, dur_s, bar_s / score.bar_q)
    if not starts:
        return None
    start = rng.choice(starts)
    notes = cut(score, start, dur_s, bar_s / score.bar_q)
    if not 0.8 <= len(notes) / dur_s <= 9.5:
        return None
    bar = sorted(score.bars_q).index(start) + 1
    return PlannedTrack(
        work_id=make_slug(f"{book.slug} {tune.number} {tune.titles[0]}"),
        title=tune.titles[0],
        composer=book.composer if kind != "harp tune" else "attributed to Turlough O'Carolan (died 1738)",
        collection=book.name,
        rights_holder="public domain",
        licence_composition=f"public domain ({ALLOWED[tune.collection].split(' (')[0]})",
        licence_encoding=NO_CLAIM,
        licence_evidence=tune.evidence,
        source=f"music21 corpus {tune.file}, X:{tune.number}, from bar {bar}",
        instrument=setting.label,
        caption=add_article(f"{dance.tempo} {book.word} {dance.words} in {score.key_name} on {setting.words}"),
        dur_s=dur_s,
        piece=arrange(score, notes, setting, bar_s, dur_s, rng),
    )


def select_tunes(tunes: list[Tune]) -> dict[tuple[str, str], list[Tune]]:
    """Tunes by (collection, kind), shuffled; only works with a single printing, so that no two tunes are one work."""
    works = group_works(tunes)
    size = Counter(works)
    alone = [t for t, w in zip(tunes, works, strict=True) if size[w] == 1]
    by_kind: dict[tuple[str, str], list[Tune]] = defaultdict(list)
    for tune in alone:
        credited = re.search(r"(?m)^C:\s*(?!O'Carolan|IRISH|SCOTCH|ENGLISH|\(?\"?coll)\S", tune.text, re.I)
        kind = rep.classify_tune(tune)
        if kind and not credited:
            by_kind[tune.collection, kind].append(tune)
    for key, members in by_kind.items():
        make_random("shuffle", *key).shuffle(members)
    return by_kind


def read_tunes(tunes: list[Tune], kind: str) -> Iterator[tuple[Tune, Score]]:
    """The tunes that music21 can read and whose metre fits the kind, with their scores."""
    for tune in tunes:
        try:
            score = read_abc(tune.text)
        except ValueError:
            continue
        if score.metre in rep.METRES[kind]:
            yield tune, score


def plan_tune_pairs(by_kind: dict[tuple[str, str], list[Tune]], taken: set[str]) -> list[Pair]:
    """Regular pairs from the tune books: same book, kind of tune, setting and (nearly) duration."""
    pairs: list[Pair] = []
    for folder, quotas in rep.QUOTAS.items():
        for kind, quota in quotas.items():
            pool = read_tunes([t for t in by_kind[folder, kind] if t.text not in taken], kind)
            settings = rep.find_settings(folder, kind)
            for k in range(quota):
                rng = make_random(folder, kind, k)
                setting, both = settings[k % len(settings)], []
                for dur_s in draw_durations(rng):
                    for tune, score in pool:
                        taken.add(tune.text)
                        if track := plan_tune(tune, score, kind, setting, dur_s, rng):
                            both.append(track)
                            break
                if len(both) < 2:
                    raise RuntimeError(f"{folder}: not enough usable tunes of kind {kind!r} (got {k} of {quota} pairs)")
                pairs.append(toss_coin(rng, both[0], both[1]))
    return pairs


# Scores


@dataclass(frozen=True)
class Window:
    """Part of a score that is played."""

    start_q: float  # a bar's beginning, in quarter notes from the start of the score
    dur_s: float


@dataclass(frozen=True)
class Variation:
    """The differences of a rendering from the score."""

    faster: float = 1.0  # factor of the tempo
    semitones: int = 0  # upwards


AS_WRITTEN = Variation()


def plan_score(
    movement: mov.Movement,
    score: Score,
    window: Window,
    forces: mov.Forces,
    rights: list[str],
    rng: random.Random,
    variation: Variation = AS_WRITTEN,
) -> PlannedTrack:
    """An excerpt of a movement for given forces; `rights` are the rights lines of its file."""
    sec_per_q = 60 / movement.quarter_bpm / variation.faster
    notes = cut(score, window.start_q, window.dur_s, sec_per_q)
    quoted = "; ".join(rights) or "none"
    stated = mov.STATED.get(movement.file)
    return PlannedTrack(
        work_id=movement.work,
        title=movement.title,
        composer=movement.composer,
        collection=movement.collection,
        rights_holder=stated.holder if stated else "public domain",
        licence_composition=f"public domain ({movement.public_domain})",
        licence_encoding=stated.licence if stated else NO_CLAIM_SCORE,
        licence_evidence=f'{movement.file}: rights lines: "{quoted}"; {CORPUS_LICENCE}',
        source=f"music21 corpus {movement.file}, from bar {sorted(score.bars_q).index(window.start_q) + 1}",
        instrument=forces.label,
        caption=add_article(f"{movement.tempo} {movement.genre} in {add_article(movement.mode)} key {forces.words}"),
        dur_s=window.dur_s,
        piece=arrange_ensemble(notes, list(forces.programs), rng, variation.semitones),
    )


def plan_quartet_pairs(root: Path, rights: dict[str, list[str]]) -> list[Pair]:
    """Regular pairs from quartets; an opus is on one side only, excerpts of a movement do not overlap."""
    pairs = []
    for collection, quota in mov.QUARTET_QUOTAS.items():
        movements = [m for m in mov.QUARTETS if m.collection == collection and m.file in rights]
        works = sorted({m.work for m in movements})
        make_random(collection, "sides").shuffle(works)
        half = len(works) // 2
        sides = (works[:half], works[half:])
        scores = {m.file: read_musicxml(root / m.file, m.last_bar) for m in movements}
        used: dict[str, list[tuple[float, float]]] = defaultdict(list)
        print(f"plan: {collection}: {len(works)} works read", flush=True)
        for k in range(quota):
            rng = make_random(collection, k)
            both = []
            for side, dur_s in zip(sides, draw_durations(rng), strict=True):
                options = [m for m in movements if m.work == side[k % len(side)]]
                rng.shuffle(options)
                both.append(_plan_free_excerpt(options, scores, used, dur_s, rights, rng))
            pairs.append((both[0], both[1]))
    return pairs


def _plan_free_excerpt(
    movements: list[mov.Movement],
    scores: dict[str, Score],
    used: dict[str, list[tuple[float, float]]],
    dur_s: float,
    rights: dict[str, list[str]],
    rng: random.Random,
) -> PlannedTrack:
    """An excerpt of the first movement that has room for one beside those in `used`. Raises RuntimeError."""
    for movement in movements:
        score = scores[movement.file]
        length = dur_s * movement.quarter_bpm / 60
        starts = find_starts(score, dur_s, 60 / movement.quarter_bpm)
        after = movement.first_bar
        starts = [s for s in starts if s >= score.bars_q[min(after, len(score.bars_q) - 1)]]
        free = [s for s in starts if all(s + length <= a or s >= b for a, b in used[movement.file])]
        if free:
            start = rng.choice(free)
            used[movement.file].append((start, start + length))
            window = Window(start, dur_s)
            return plan_score(movement, score, window, mov.STRING_QUARTET, rights[movement.file], rng)
    raise RuntimeError(f"{movements[0].work}: no free excerpt of {dur_s} s is left")


# Own pieces


def plan_own(style: str, name: str, made: GeneratedPiece, dur_s: float, seed: str, title: str) -> PlannedTrack:
    """A track of our own generator."""
    return PlannedTrack(
        work_id=make_slug(f"own {name}"),
        title=title,
        composer="Whence generator",
        collection=f"Whence generator: {style}",
        rights_holder="Whence (CC0)",
        licence_composition="CC0 1.0",
        licence_encoding="CC0 1.0",
        licence_evidence="own work, written by data/demo/generator.py",
        source=f"generator style {style!r}, seed {seed!r}",
        instrument=made.instrument,
        caption=made.caption,
        dur_s=dur_s,
        piece=made.piece,
    )


def plan_own_pairs(per_style: int) -> list[Pair]:
    """Regular pairs from the generator: same style, instruments and (nearly) duration."""
    pairs = []
    for style, write in STYLES.items():
        for k in range(per_style):
            rng = make_random(style, k)
            both = []
            for number, dur_s in zip((2 * k + 1, 2 * k + 2), draw_durations(rng), strict=True):
                seed = f"{SEED}/{style}/{number}"
                made = write(random.Random(seed), k)
                title = f"{style.capitalize()} no. {number}"
                both.append(plan_own(style, f"{style} {number}", made, dur_s, seed, title))
            pairs.append(toss_coin(rng, both[0], both[1]))
    return pairs
