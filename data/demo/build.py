"""Builds the demo corpus: `python data/demo/build.py [--out DIR] [--jobs 2]`.

Reads the free part of music21's corpus, adds own pieces, renders everything with fluidsynth and writes
`manifest.csv`, `audio/NNNN.mp3` (training tracks and some decoys) and, beside the repository's other
scratch files, `data/work/demo-decoys/NNNN.mp3` (the other decoys). `unheard.csv` and `unheard/NNNN.mp3` are further
pieces of the rare style, outside the corpus, for `precompute evaluate planted`. The same inputs give the same manifests
and notes again.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAIRS = 320
OWN_PER_STYLE = 12
SHIPPED_DECOYS = 64  # with sound; the others ship as latents
BATCH = 20  # tracks a fluidsynth run; a note sounds a little different with others before it, so batches must stay
RENDERING = "CC0 1.0; rendered with FluidR3 GM (MIT)"
COLUMNS = (
    *("track_id", "work_id", "title", "composer", "collection", "rights_holder", "licence_composition"),
    *(
        "licence_encoding",
        "licence_rendering",
        "licence_evidence",
        "source",
        "instrument",
        "caption",
        "split",
    ),
    *("duration_s", "audition", "path", "planted", "matched_to", "training_weight"),
)


@dataclass(frozen=True)
class NumberedTrack:
    """A numbered track."""

    track_id: int
    track: object  # plan.PlannedTrack; plan is imported late
    split: str  # train | decoy
    matched_to: str
    shipped: bool
    folder: str = "audio"  # of what is shipped


def find_missing_tool() -> str:
    """One line that names what is not installed; "" where everything is."""
    from render import SOUNDFONT
    from sources import find_corpus

    if shutil.which("fluidsynth") is None:
        return "fluidsynth is not installed: apt-get install fluidsynth fluid-soundfont-gm"
    if not SOUNDFONT.is_file():
        return f"the soundfont {SOUNDFONT} is missing: apt-get install fluid-soundfont-gm"
    try:
        find_corpus()
    except FileNotFoundError as error:
        return str(error)
    return ""


def number_tracks() -> tuple[list[NumberedTrack], list[NumberedTrack]]:
    """All tracks of the manifest, and the unheard pieces.

    The regular and planted tracks are numbered in a random order; then follow the weighted pairs, the unheard pieces
    and the decoys of given captions, so that each part leaves the numbers and files of the earlier ones as they are.
    """
    import plan
    import planted as special
    import same_caption
    from sources import find_corpus, survey

    root = find_corpus()
    tunes, rights, refused = survey(root)
    print(f"sources: {len(tunes)} tunes and {len(rights)} scores may be used; refused:")
    for reason, count in sorted(refused.items()):
        print(f"  {count:5d}  {reason}")
    by_kind = plan.select_tunes(tunes)
    print(f"works: {sum(map(len, by_kind.values()))} tunes of known kind have no second printing")
    taken: set[str] = set()
    planted = special.plan_renderings(root, rights, by_kind, taken)
    planted += special.plan_rare_tracks() + special.plan_degenerate_tracks()
    pairs = (
        plan.plan_tune_pairs(by_kind, taken)
        + plan.plan_quartet_pairs(root, rights)
        + plan.plan_own_pairs(OWN_PER_STYLE)
    )
    if len(pairs) != PAIRS:
        raise RuntimeError(f"{len(pairs)} pairs instead of {PAIRS}: the quotas do not add up")
    print(f"plan: {len(pairs)} pairs, {len(planted)} planted tracks")

    order = [(k, side) for k in range(PAIRS) for side in (0, 1)] + [(k, 2) for k in range(len(planted))]
    plan.make_random("order").shuffle(order)
    number = {key: i for i, key in enumerate(order, start=1)}
    shipped = set(range(0, PAIRS, PAIRS // SHIPPED_DECOYS))  # pairs are sorted by collection, so this spreads
    entries = []
    for (k, side), track_id in number.items():
        if side == 2:
            entries.append(NumberedTrack(track_id, planted[k], "train", "", True))
        elif side == 0:
            entries.append(NumberedTrack(track_id, pairs[k][0], "train", "", True))
        else:
            entries.append(NumberedTrack(track_id, pairs[k][1], "decoy", str(number[k, 0]), k in shipped))
    for pair in special.plan_weighted_pairs():
        first = len(entries) + 1
        ids = [first, first + 1]
        plan.make_random("order", first).shuffle(ids)
        entries.append(NumberedTrack(ids[0], pair[0], "train", "", True))
        entries.append(NumberedTrack(ids[1], pair[1], "train", str(ids[0]), True))
    unheard = number_unheard_tracks(len(entries))
    first = len(entries) + len(unheard) + 1
    by_id = {e.track_id: e.track for e in entries}
    captions = same_caption.read_shown_captions(HERE / "prompts.csv")
    captions += [by_id[track_id].caption for track_id in same_caption.EXEMPLARS]
    trained = {e.track.work_id for e in entries if e.split == "train"}
    decoys = same_caption.plan_same_caption_decoys(
        captions, list(by_id.values()), trained, by_kind, taken, root, rights
    )
    print(f"plan: {len(decoys)} decoys of shown captions and of exemplars' captions")
    entries += [NumberedTrack(k, track, "decoy", "", False) for k, track in enumerate(decoys, start=first)]
    return entries, unheard


def number_unheard_tracks(after: int) -> list[NumberedTrack]:
    """Pieces of the rare style that no model hears; their numbers follow the corpus's last, `after`."""
    from planted import UNHEARD, plan_rare_tracks

    tracks = plan_rare_tracks(UNHEARD)
    return [NumberedTrack(after + k, track, "decoy", "", True, "unheard") for k, track in enumerate(tracks, start=1)]


def format_row(entry: NumberedTrack) -> dict[str, object]:
    """A line of the manifest."""
    from planted import WEIGHT
    from render import RATE

    t = entry.track
    return {
        **{name: getattr(t, name) for name in COLUMNS if hasattr(t, name)},
        "track_id": entry.track_id,
        "licence_rendering": RENDERING,
        "split": entry.split,
        "duration_s": f"{round(t.dur_s * RATE) / RATE:.3f}",
        "audition": "full" if entry.shipped else "none",
        "path": f"{entry.folder}/{entry.track_id:04d}.mp3" if entry.shipped else "",
        "matched_to": entry.matched_to,
        "training_weight": WEIGHT if t.planted == "weighted" else 1,
    }


def render_all(entries: list[NumberedTrack], out: Path, decoys: Path, jobs: int) -> None:
    """Render every entry; `jobs` fluidsynth runs at a time. Numbers before and after a gap share no batch."""
    from render import Take, render_batch

    takes = [
        Take(
            (out / e.folder if e.shipped else decoys) / f"{e.track_id:04d}.mp3",
            e.track.piece,
            e.track.dur_s,
            e.track.level_dbfs,
        )
        for e in entries
    ]
    gaps = [i for i in range(1, len(entries)) if entries[i].track_id != entries[i - 1].track_id + 1]
    bounds = list(pairwise([0, *gaps, len(takes)]))
    batches = [takes[i : min(i + BATCH, last)] for first, last in bounds for i in range(first, last, BATCH)]
    done, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(jobs) as pool:
        paths = [Path(work) / f"batch{k:03d}" for k in range(len(batches))]
        for count in pool.map(render_batch, batches, paths):
            done += count
            print(f"rendered {done}/{len(takes)} ({time.monotonic() - began:.0f} s)", flush=True)


def write_manifest(entries: list[NumberedTrack], path: Path) -> None:
    """Write beside and rename, so that a broken run leaves the old manifest."""
    beside = path.with_suffix(".partial")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(format_row(e) for e in entries)
    beside.replace(path)


def main() -> int:
    """Plan, render and list the corpus; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder of manifest.csv and audio/ (default: data/demo)")
    parser.add_argument("--jobs", type=int, default=2, help="fluidsynth runs at a time (default: 2)")
    parser.add_argument("--plan-only", action="store_true", help="write the manifest, render nothing")
    parser.add_argument("--unheard-only", action="store_true", help="make only the unheard pieces, outside the corpus")
    parser.add_argument("--decoys-only", action="store_true", help="keep no sound but that of decoys that ship without")
    options = parser.parse_args()
    if problem := find_missing_tool():
        print(f"build.py: {problem}", file=sys.stderr)
        return 1
    own = options.out.resolve() == HERE
    decoys = HERE.parent / "work" / "demo-decoys" if own else options.out / "demo-decoys"
    began = time.monotonic()
    entries, unheard = number_tracks()
    entries.sort(key=lambda e: e.track_id)
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.plan_only or options.decoys_only):
        shutil.rmtree(options.out / "unheard", ignore_errors=True)
        render_all(unheard, options.out, decoys, options.jobs)
    write_manifest(unheard, options.out / "unheard.csv")
    if options.unheard_only:
        return 0
    if not options.plan_only:
        with tempfile.TemporaryDirectory() as unwanted:
            out = Path(unwanted) if options.decoys_only else options.out
            for folder in (out / "audio", decoys):
                shutil.rmtree(folder, ignore_errors=True)
            render_all(entries, out, decoys, options.jobs)
    write_manifest(entries, options.out / "manifest.csv")
    counts = Counter((e.track.collection, e.split) for e in entries)
    for (collection, split), count in sorted(counts.items()):
        print(f"  {count:4d}  {split:5s}  {collection}")
    size = sum(p.stat().st_size for p in (options.out / "audio").glob("*.mp3")) / 1e6
    print(f"{len(entries)} tracks, {size:.1f} MB shipped, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
