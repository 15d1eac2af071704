"""Measures how sure the families are, and prints pairs near the threshold: `python data/tunes/check_families.py`.

Four groups of pairs: one printed number that two people transcribed (surely one tune), equal title and rhythm (mostly
one tune), chance (other titles, one metre) and chance with the second tune played backwards (surely not one tune).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "demo")]

from books import PrintedTune, read_books  # noqa: E402
from families import THRESHOLD, Likeness, Pair, compare_pairs, find_candidates, sample_steps  # noqa: E402
from selection import KIN, add_tonics, make_random, name_titles, pair_titles  # noqa: E402
from sources import find_corpus  # noqa: E402

CHANCE = 20_000  # pairs


def draw_pairs(tunes: list[PrintedTune], count: int) -> list[Pair]:
    """Pairs by chance, of one metre and without a title in common."""
    rng, by_metre = make_random("chance"), defaultdict(list)
    for k, tune in enumerate(tunes):
        by_metre[tune.melody.metre].append(k)
    titles = [name_titles(t) for t in tunes]
    pairs: set[Pair] = set()
    while len(pairs) < count:
        a = rng.randrange(len(tunes))
        b = rng.choice(by_metre[tunes[a].melody.metre])
        if a < b and not titles[a] & titles[b]:
            pairs.add((a, b))
    return sorted(pairs)


def describe(name: str, found: dict[Pair, Likeness]) -> str:
    """One line: how many pairs reach the two thresholds."""
    values = [like.similarity for like in found.values()]
    parts = [f"{sum(v >= t for v in values)} at {t} or more" for t in (KIN, THRESHOLD)]
    return f"{name}: {len(values)} pairs, {', '.join(parts)}"


def print_pairs(tunes: list[PrintedTune], found: dict[Pair, Likeness], low: float, high: float, count: int) -> None:
    """Titles and first bars of some pairs whose similarity lies between two values."""
    pairs = [p for p, like in found.items() if low <= like.similarity < high]
    print(f"\n{len(pairs)} candidates from {low} to {high}")
    make_random("shown", low).shuffle(pairs)
    for pair in pairs[:count]:
        print(f"{found[pair].similarity:.2f}")
        for k in pair:
            t = tunes[k]
            bars = " ".join(t.body.split("\n"))[:110]
            print(f"   {t.titles[0][:34]:34} {t.book[:4]} {t.melody.metre} {t.melody.key!s:4} {bars}")


def main() -> int:
    """Print figures and pairs; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", type=int, default=30, help="pairs on each side of a threshold (default: 30)")
    options = parser.parse_args()
    tunes, twice, _ = read_books(find_corpus())
    steps = [sample_steps(t.melody) for t in tunes]
    candidates = find_candidates([t.melody for t in tunes])

    def compare(pairs: list[Pair]) -> dict[Pair, Likeness]:
        return compare_pairs(steps, add_tonics(tunes, {p: candidates.get(p, ()) for p in pairs}))

    again = [t for pair in twice for t in pair]
    known = add_tonics(again, {(k, k + 1): () for k in range(0, len(again), 2)})
    print(describe("transcribed twice", compare_pairs([sample_steps(t.melody) for t in again], known)))
    titled = [p for p in pair_titles(tunes) if tunes[p[0]].rhythm == tunes[p[1]].rhythm]
    by_title = compare(titled)
    print(describe("equal title and rhythm", by_title))
    chance = draw_pairs(tunes, CHANCE)
    by_chance = compare(chance)
    print(describe("chance", by_chance))
    backwards = [steps[b][::-1] for _, b in chance]
    mixed = [s for (a, _), back in zip(chance, backwards, strict=True) for s in (steps[a], back)]
    order = [tunes[k] for pair in chance for k in pair]
    pairs = add_tonics(order, {(k, k + 1): (0,) for k in range(0, len(order), 2)})
    print(describe("chance, second tune backwards", compare_pairs(mixed, pairs)))
    alike = [p for found in (by_title, by_chance) for p, like in found.items() if like.similarity >= THRESHOLD]
    both = sum(p in candidates for p in alike)
    print(f"of {len(alike)} pairs of equal title or chance above the threshold, {both} share enough phrases")
    found = compare_pairs(steps, add_tonics(tunes, candidates))
    print(describe("candidates", found))
    print(f"similarities in tenths: {sorted(Counter(int(10 * v.similarity) for v in found.values()).items())}")
    for low, high in ((0.28, KIN), (KIN, THRESHOLD), (THRESHOLD, 0.5)):
        print_pairs(tunes, found, low, high, options.show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
