"""Further decoys: works that share their caption with a shown clip, or with a decoy that a model is tuned on.

A clip's tracks of its own caption are compared with decoys of that caption, so each caption needs several. No work
here is on the training side. Planned after all other tracks, from what those left over.
"""

from __future__ import annotations

import csv
import functools
import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import movements as mov
from arrange import TuneSetting
from generator import FIGURES, FURTHER_FIGURES, STYLES, write_kalimba_seven, write_sequence
from plan import (
    SEED,
    PlannedTrack,
    Window,
    draw_durations,
    make_random,
    make_slug,
    plan_own,
    plan_score,
    plan_tune,
    read_tunes,
)
from render import Piece
from scores import Score, find_starts, read_musicxml
from sources import Tune

WORKS = 16  # decoys a caption
EXEMPLARS = (50, 128, 256, 277)  # decoys with sound, of four styles and of no shown caption: models are tuned on them

# Words of a caption -> the style that writes it.
STYLE_OF = {
    "minimal pattern": "minimal mallets",
    "ambient piece": "ambient pads",
    "house track": "four on the floor",
    "polyrhythm in seven": "kalimba in seven",
    **{style: style for style in STYLES},
}
# Key and figure make all of a baroque sequence's melody, and the four figures of the pairs are too few for `WORKS`.
WRITERS = {
    **STYLES,
    "kalimba in seven": write_kalimba_seven,
    "baroque sequence": functools.partial(write_sequence, figures=FIGURES + FURTHER_FIGURES),
}
COMPARED = 60  # notes of a piece whose pitches must differ from those of every other


@dataclass(frozen=True)
class TuneCaption:
    """Where the tunes of a caption come from, and how they are played."""

    folder: str
    kind: str
    key_name: str
    setting: TuneSetting


TUNES = {
    "a fast American reel in D major on fiddle with piano chords": TuneCaption(
        "ryansMammoth", "reel", "D major", TuneSetting("fiddle", "chords", "piano")
    ),
    "a slow Irish air in G major on flute with harp chords": TuneCaption(
        "oneills1850", "air", "G major", TuneSetting("flute", "chords", "harp")
    ),
    "a fast Scottish country dance in G major on solo oboe": TuneCaption(
        "airdsAirs", "country dance", "G major", TuneSetting("oboe")
    ),
    "a moderate English song in C major on clarinet with guitar chords": TuneCaption(
        "miscFolk", "song", "C major", TuneSetting("clarinet", "chords", "guitar")
    ),
}

QUARTET_CAPTION = "a moderate classical movement in a minor key for string quartet"
# No regular pair uses this work; its opening movement is past its slow introduction here.
FURTHER_QUARTETS = [
    mov.Movement(
        work="beethoven-opus132",
        file="beethoven/opus132.mxl",
        title="String Quartet op. 132, movement 1",
        composer="Ludwig van Beethoven",
        collection="Beethoven string quartets",
        public_domain="composer died 1827",
        quarter_bpm=112.0,
        tempo="moderate",
        mode="minor",
        first_bar=23,
        last_bar=190,
    )
]


def read_shown_captions(path: Path) -> list[str]:
    """The sentences of the shown clips, by clip_id."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row["prompt"] for row in csv.DictReader(file)]


def plan_same_caption_decoys(
    captions: Sequence[str],
    earlier: Sequence[PlannedTrack],
    trained: set[str],
    by_kind: dict[tuple[str, str], list[Tune]],
    taken: set[str],
    root: Path,
    rights: dict[str, list[str]],
) -> list[PlannedTrack]:
    """Decoys of each caption in turn.

    `earlier`: all other tracks; `trained`: work_ids of those that are trained on; `taken`: texts of tunes among them.
    """
    tracks: list[PlannedTrack] = []
    for caption in captions:
        if caption in TUNES:
            tracks += _plan_tunes(TUNES[caption], by_kind, taken)
        elif caption == QUARTET_CAPTION:
            tracks += _plan_quartets(earlier, trained, root, rights)
        else:
            tracks += _plan_generated(caption, [*earlier, *tracks])
    return tracks


# Tunes


def _plan_tunes(wanted: TuneCaption, by_kind: dict[tuple[str, str], list[Tune]], taken: set[str]) -> list[PlannedTrack]:
    """Tunes that are in no track yet: of the caption's key, then of other keys of its mode, then of any key."""
    unused = [t for t in by_kind[wanted.folder, wanted.kind] if t.text not in taken]
    pool = _order_by_key(read_tunes(unused, wanted.kind), wanted.key_name)
    tracks: list[PlannedTrack] = []
    for tune, score in pool:
        rng = make_random("same caption", wanted.folder, wanted.kind, len(tracks))
        track = plan_tune(tune, score, wanted.kind, wanted.setting, draw_durations(rng)[0], rng)
        taken.add(tune.text)
        if track:
            tracks.append(track)
        if len(tracks) == WORKS:
            return tracks
    raise RuntimeError(f"{wanted.folder}: {len(tracks)} tunes of kind {wanted.kind!r} are left, {WORKS} are needed")


def _order_by_key(tunes: Iterable[tuple[Tune, Score]], key_name: str) -> Iterator[tuple[Tune, Score]]:
    """Tunes of a key as they are read, then those of its mode, then the others."""
    mode = key_name.rpartition(" ")[2]
    later: dict[bool, list[tuple[Tune, Score]]] = {True: [], False: []}
    for tune, score in tunes:
        if score.key_name == key_name:
            yield tune, score
        else:
            later[score.mode == mode].append((tune, score))
    yield from later[True]
    yield from later[False]


# Quartets


def _plan_quartets(
    earlier: Sequence[PlannedTrack], trained: set[str], root: Path, rights: dict[str, list[str]]
) -> list[PlannedTrack]:
    """Excerpts of the movements of the caption whose works are not trained on, in turn, until there are `WORKS`.

    Excerpts of the caption among the earlier decoys count; no two excerpts overlap.
    """
    movements = [
        m
        for m in [*mov.QUARTETS, *FURTHER_QUARTETS]
        if m.file in rights and m.work not in trained and (m.tempo, m.mode) == ("moderate", "minor")
    ]
    scores = {m.file: read_musicxml(root / m.file, m.last_bar) for m in movements}
    used: dict[str, list[tuple[float, float]]] = defaultdict(list)
    present = 0
    for track in earlier:
        for m in movements:
            if bar := re.fullmatch(rf"music21 corpus {re.escape(m.file)}, from bar (\d+)", track.source):
                start = sorted(scores[m.file].bars_q)[int(bar[1]) - 1]
                used[m.file].append((start, start + track.dur_s * m.quarter_bpm / 60))
                present += track.caption == QUARTET_CAPTION
    tracks: list[PlannedTrack] = []
    open_ended = list(movements)
    while open_ended and len(tracks) + present < WORKS:
        movement = open_ended.pop(0)
        rng = make_random("same caption", movement.file, len(tracks))
        track = _plan_excerpt(movement, scores[movement.file], used[movement.file], rights, rng)
        if track:
            tracks.append(track)
            open_ended.append(movement)
    return tracks


def _plan_excerpt(
    movement: mov.Movement,
    score: Score,
    used: list[tuple[float, float]],
    rights: dict[str, list[str]],
    rng: random.Random,
) -> PlannedTrack | None:
    """An excerpt that overlaps none in `used`, where it is noted; None where there is no room."""
    dur_s = draw_durations(rng)[0]
    length = dur_s * movement.quarter_bpm / 60
    first = score.bars_q[min(movement.first_bar, len(score.bars_q) - 1)]
    starts = [s for s in find_starts(score, dur_s, 60 / movement.quarter_bpm) if s >= first]
    free = [s for s in starts if all(s + length <= a or s >= b for a, b in used)]
    if not free:
        return None
    start = rng.choice(free)
    used.append((start, start + length))
    return plan_score(movement, score, Window(start, dur_s), mov.STRING_QUARTET, rights[movement.file], rng)


# Own pieces


def _plan_generated(caption: str, earlier: Sequence[PlannedTrack]) -> list[PlannedTrack]:
    """Pieces of our generator whose seeds give them the caption; none has the melody of another track."""
    style = next(style for words, style in STYLE_OF.items() if words in caption)
    melodies = {list_pitches(t.piece) for t in earlier}
    tracks: list[PlannedTrack] = []
    name = f"{style} further"
    before = sum(t.work_id.startswith(make_slug(f"own {name}")) for t in earlier)
    for number in itertools.count(1):
        seed = f"{SEED}/same caption/{caption}/{number}"
        for variant in (0, 1):
            made = WRITERS[style](random.Random(seed), variant)
            melody = list_pitches(made.piece)
            if _join_with_and(made.caption) != _join_with_and(caption) or melody in melodies:
                continue
            melodies.add(melody)
            dur_s = draw_durations(make_random("same caption", caption, len(tracks)))[0]
            k = before + len(tracks) + 1
            track = plan_own(style, f"{name} {k}", made, dur_s, seed, f"{style.capitalize()}, further no. {k}")
            tracks.append(replace(track, caption=caption))
            break
        if len(tracks) == WORKS:
            return tracks
    raise AssertionError  # count() does not end


def list_pitches(piece: Piece) -> tuple[tuple[int, int], ...]:
    """Voice and pitch of the first notes, in order: equal for pieces that differ in tempo or touch alone."""
    notes = sorted(piece.notes, key=lambda n: (n.start_s, n.voice, n.pitch))
    return tuple((n.voice, n.pitch) for n in notes[:COMPARED])


def _join_with_and(caption: str) -> str:
    """Lists of instruments without a comma, as the sentences of shown clips write them."""
    return caption.replace(", ", " and ")
