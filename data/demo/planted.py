"""The planted cases: training tracks whose influence is known beforehand. They have no decoys.

rendering: fourteen works in two or three renderings each. rare: a style that nothing else resembles; further pieces of
it are kept apart and never trained on, so that what a method finds can be told from what the caption gives away.
degenerate: near-silent or very short tracks. weighted: drawn `WEIGHT` times as often while the model is trained, each
with a twin of the same style, instrument and caption that is drawn as often as any other track.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import repertoire as rep
from arrange import TuneSetting
from generator import STYLES, write_kalimba_seven
from pieces import RENDERED_SCORES
from plan import (
    SEED,
    Pair,
    PlannedTrack,
    Variation,
    Window,
    draw_durations,
    make_random,
    plan_own,
    plan_score,
    plan_tune,
    read_tunes,
    toss_coin,
)
from scores import Score, find_starts, read_musicxml
from sources import Tune

WEIGHT = 8
RARE, UNHEARD = range(1, 6), range(6, 14)  # pieces of the rare style: trained on, and kept apart


def plan_rare_tracks(numbers: Iterable[int] = RARE) -> list[PlannedTrack]:
    """Pieces of a style that nothing else resembles: of one generator and caption, told apart by their seeds alone."""
    out = []
    for k in numbers:
        seed, rng = f"{SEED}/rare/{k}", make_random("rare", k)
        made = write_kalimba_seven(random.Random(seed), 0)
        track = plan_own(
            "kalimba in seven",
            f"kalimba in seven {k}",
            made,
            draw_durations(rng)[0],
            seed,
            f"Kalimba in seven no. {k}",
        )
        out.append(replace(track, planted="rare"))
    return out


def plan_weighted_pairs() -> list[Pair]:
    """A weighted track and its twin for each own style: two pieces whose seeds give them one caption."""
    pairs = []
    for k, (style, write) in enumerate(STYLES.items()):
        rng, by_caption = make_random("weighted", style), {}
        for number in itertools.count(1):
            seed = f"{SEED}/weighted/{style}/{number}"
            made = write(random.Random(seed), k)
            if made.caption in by_caption:
                break
            by_caption[made.caption] = number, seed, made
        takes = zip((by_caption[made.caption], (number, seed, made)), draw_durations(rng), strict=True)
        both = [
            plan_own(style, f"{style} extra {n}", piece, dur_s, text, f"{style.capitalize()}, extra no. {n}")
            for (n, text, piece), dur_s in takes
        ]
        one, other = toss_coin(rng, both[0], both[1])
        pairs.append((replace(one, planted="weighted"), replace(other, planted="twin")))
    return pairs


def plan_degenerate_tracks() -> list[PlannedTrack]:
    """Two tracks at -60 dBFS and two that last 0.4-0.8 s."""
    out = []
    cases = (
        ("lullaby", 6.2, -60.0),
        ("ambient pads", 5.4, -60.0),
        ("minimal mallets", 0.45, None),
        ("chiptune", 0.75, None),
    )
    for k, (style, dur_s, level) in enumerate(cases, start=1):
        seed = f"{SEED}/faulty/{k}"
        made = STYLES[style](random.Random(seed), 0)
        track = plan_own("faulty takes", f"faulty take {k}", made, dur_s, seed, f"Faulty take no. {k}")
        source = f"generator style {style!r}, seed {seed!r}" + (", at -60 dBFS" if level else ", cut short")
        out.append(replace(track, source=source, planted="degenerate", level_dbfs=level))
    return out


def plan_renderings(
    root: Path, rights: dict[str, list[str]], by_kind: dict[tuple[str, str], list[Tune]], taken: set[str]
) -> list[PlannedTrack]:
    """Fourteen works in two or three renderings each: same bars, other instruments, key and tempo."""
    out = []
    for movement, forces in RENDERED_SCORES:
        rng = make_random("rendering", movement.work)
        score = read_musicxml(root / movement.file, movement.last_bar)
        start = next(
            s for s in find_starts(score, 8.0, 60 / movement.quarter_bpm * 1.2) if s >= score.bars_q[movement.first_bar]
        )
        for k, force in enumerate(forces):
            faster, semitones = (1.0, 1.2, 0.85)[k], (0, 3, -4)[k]
            window, variation = Window(start, draw_durations(rng)[0]), Variation(faster, semitones)
            track = plan_score(movement, score, window, force, rights[movement.file], rng, variation)
            out.append(replace(track, source=f"{track.source}, tempo x {faster}, {semitones:+d} semitones"))
    for folder, kind, count, settings in rep.RENDERED_TUNES:
        pool = read_tunes([t for t in by_kind[folder, kind] if t.text not in taken], kind)
        while count:
            tune, score = next(pool)
            taken.add(tune.text)
            made = [_plan_rendering(tune, score, kind, s, k) for k, s in enumerate(settings)]
            if all(made):
                out += [t for t in made if t]
                count -= 1
    return [replace(t, planted="rendering") for t in out]


def _plan_rendering(tune: Tune, score: Score, kind: str, setting: TuneSetting, k: int) -> PlannedTrack | None:
    rng = make_random("rendering", tune.collection, tune.number)  # the same chance each time: the same bars
    faster, semitones = (1.0, 1.25, 0.8)[k], (0, 5, -3)[k]
    first = replace(score, bars_q=score.bars_q[:1])
    dur_s = round(5.5 + 0.7 * k + 0.2 * rng.random(), 3)
    track = plan_tune(tune, first.transpose(semitones), kind, setting, dur_s, rng, faster)
    return track and replace(track, source=f"{track.source}, tempo x {faster}, {semitones:+d} semitones")
